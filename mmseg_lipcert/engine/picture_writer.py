from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmseg_lipcert.certificates import RegionQuery, vanishing_regions
from mmseg_lipcert.visualization import save_certificate_figure, save_region_figure


class PictureWriter:
    """Draws the certificate of each image: ``NAME.png`` and, of its objects, ``NAME_regions.png``.

    There is no picture of objects where the logits differ in size from the labels, as there are no
    region certificates then.

    Args:
        folder (str | Path): Where the pictures are written.
        metainfo (dict): Of the dataset: ``classes`` and ``palette``.
        query (RegionQuery): What is certified about regions.
        ignore_index (int): Label of ignored pixels.
        swap_channels (bool): Whether inputs come as BGR.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        metainfo: dict[str, Any],
        query: RegionQuery,
        ignore_index: int,
        swap_channels: bool,
    ) -> None:
        self.folder = Path(folder)
        self.classes = metainfo["classes"]
        self.palette = metainfo["palette"]
        self.query = query
        self.ignore_index = ignore_index
        self.swap_channels = swap_channels

    def draw(
        self,
        entry: dict[str, Any],
        sample: BaseDataElement,
        image: Tensor,
        prediction: np.ndarray,
        radius: np.ndarray,
    ) -> None:
        """Draw the pictures of one image.

        Args:
            entry: Its certificate.
            sample: Its labels and logits.
            image: What entered the data preprocessor (3, h, w), 0..255.
            prediction: Predicted labels (H, W).
            radius: Radius of each pixel (H, W).
        """
        pixels = image.cpu().permute(1, 2, 0).numpy()
        if self.swap_channels:
            pixels = pixels[..., ::-1]
        target = sample.gt_sem_seg.data[0].cpu()
        valid = max(entry["valid"], 1)
        accuracy = ", ".join(
            f"{100 * (entry['correct'] - lost) / valid:.1f}% at {eps:g}"
            for eps, lost in zip(entry["eps"], entry["correct_lost"], strict=True)
        )
        save_certificate_figure(
            self.folder / f"{entry['image']}.png",
            pixels,
            target.numpy(),
            prediction,
            radius,
            self.classes,
            self.palette,
            f"{entry['image']}: pixel accuracy {100 * entry['correct'] / valid:.1f}%, "
            f"certified {accuracy}",
            self.ignore_index,
        )
        if entry["regions"] is None:
            return
        regions, numbers = vanishing_regions(
            sample.seg_logits.data,
            sample.gt_sem_seg.data[0],
            entry["lipschitz"],
            share=self.query.vanish_share,
            min_pixels=self.query.min_pixels,
            ignore_index=self.ignore_index,
            classifier=sample.metainfo.get("classifier"),
        )
        save_region_figure(
            self.folder / f"{entry['image']}_regions.png",
            pixels,
            regions,
            numbers.numpy(),
            (target == self.ignore_index).numpy(),
            self.classes,
            self.query.vanish_share,
            entry["image"],
        )
