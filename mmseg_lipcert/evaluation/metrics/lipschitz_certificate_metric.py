from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

from mmseg_lipcert.certificates import dataset_summary, image_entry
from mmseg_lipcert.certificates.cells import cell_indices, cell_label_counts
from mmseg_lipcert.certificates.validation import check_eps


@METRICS.register_module()
class LipschitzCertificateMetric(BaseMetric):
    """Guaranteed segmentation metrics under any l2 perturbation, from native logits.

    Each image becomes one small entry (:func:`mmseg_lipcert.certificates.image_entry`), the
    dataset figures come from the entries alone
    (:func:`mmseg_lipcert.certificates.dataset_summary`). Samples must carry ``seg_logits`` at
    native resolution and ``lipschitz_bound``, as :class:`LipEncoderDecoder` gives them.

    Args:
        eps (Sequence[float]): Norms of the perturbation, images in [0, 1].
        thresholds (Sequence[float]): Pixel accuracies whose robustness radius is reported.
        ignore_index (int): Label of ignored pixels. Defaults to 255.
        collect_device (str): ``'cpu'`` or ``'gpu'``. Defaults to ``'cpu'``.
        prefix (str, optional): Prefix of the metric names. Defaults to ``'certified'``.

    Raises:
        ValueError: If an eps is negative or not finite.
    """

    default_prefix = "certified"

    def __init__(
        self,
        eps: Sequence[float] = (0.05, 0.1, 0.17, 0.5, 1.0),
        thresholds: Sequence[float] = (0.5, 0.6, 0.7, 0.8),
        ignore_index: int = 255,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        self.eps = check_eps(list(eps))
        self.thresholds = list(thresholds)
        self.ignore_index = ignore_index
        #: Folder that image names are relative to; the certification hook sets it.
        self.image_root: str | None = None
        #: Entries of earlier runs by image name; the certification hook sets them.
        self.finished: dict[str, dict] = {}
        #: The dataset figures of the last evaluation.
        self.summary: dict[str, Any] = {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Certify the images of one batch.

        Args:
            data_batch (dict): Not used.
            data_samples (Sequence[dict]): Predictions with their labels.

        Raises:
            ValueError: If a sample does not know the Lipschitz bound of its logits.
        """
        for sample in data_samples:
            if sample.get("lipschitz_bound") is None:
                raise ValueError(
                    f"{sample.get('img_path')}: the prediction carries no Lipschitz bound; certify "
                    "a LipEncoderDecoder with the CertificationHook"
                )
            start = time.perf_counter()
            entry = self.calculate(
                sample["seg_logits"]["data"],
                sample["gt_sem_seg"]["data"].squeeze(0),
                sample["lipschitz_bound"],
                sample["img_shape"],
                sample["logit_stride"],
            )
            entry["image"] = self.image_name(sample["img_path"])
            entry["seconds_certificate"] = time.perf_counter() - start
            self.results.append(entry)

    def calculate(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        lipschitz: float,
        network_size: tuple[int, int],
        stride: int = 1,
    ) -> dict[str, Any]:
        """Certify one image; usable without a runner.

        Args:
            logits (Tensor): Native logits (K, h, w).
            target (Tensor): Labels (H, W), at the original size of the image.
            lipschitz (float): Joint bound from images in [0, 1] to the logits.
            network_size (tuple[int, int]): Size of the image that entered the network.
            stride (int): Rows of that image per row of logits. Defaults to 1.

        Returns:
            dict: The entry of :func:`mmseg_lipcert.certificates.image_entry`.
        """
        target = target.to(logits.device)
        if target.shape != logits.shape[1:]:
            rows, columns = (
                cell_indices(original, resized, stride)
                for original, resized in zip(target.shape, network_size[:2], strict=True)
            )
            classes = max(2, logits.shape[0])
            target = cell_label_counts(target, rows, columns, tuple(logits.shape[1:]), classes)
        return image_entry(
            logits,
            target,
            self.eps,
            lipschitz,
            thresholds=self.thresholds,
            ignore_index=self.ignore_index,
        )

    def image_name(self, path: str) -> str:
        """Name of an image in results and artifacts: its path without root and extension."""
        path = Path(path)
        if self.image_root is not None and path.is_relative_to(self.image_root):
            path = path.relative_to(self.image_root)
        return path.with_suffix("").as_posix().lstrip("/")

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Combine the entries of all images, those of an interrupted run included."""
        entries = {**self.finished, **{entry["image"]: entry for entry in results}}
        self.summary = dataset_summary([entries[name] for name in sorted(entries)])
        figures = {
            f"clean_{key}": value
            for key, value in self.summary["clean"].items()
            if isinstance(value, float)
        }
        for row in self.summary["certified"]:
            figures.update(
                {
                    f"{key}@{row['eps']:g}": value
                    for key, value in row.items()
                    if key != "eps" and isinstance(value, float)
                }
            )
        return figures
