from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import Compose
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from .label_maps import predict_labels


class BaseClassifier:
    """The map h of smoothing: from noisy images to label maps at the original size.

    ``h(x) = segmentor(scale(transforms(denoise(x))))``, the segmentor with its own normalization,
    padding, windows and decode head. It is the same for every draw.

    Args:
        segmentor: Any segmentor whose ``predict`` gives ``pred_sem_seg``.
        denoiser: Denoises images (B, 3, H, W), RGB in [0, 1].
        scale: Size of the segmentor's input relative to what the transforms give.
        transforms: Transforms of the test pipeline behind the noise, as configs.
        autocast: Reduced precision of the segmentor.
    """

    def __init__(
        self,
        segmentor: nn.Module,
        denoiser: nn.Module | None = None,
        scale: float | None = None,
        transforms: Sequence[dict] = (),
        autocast: str | None = None,
    ) -> None:
        self.segmentor = segmentor
        self.denoiser = denoiser
        self.scale = scale
        self.transforms = Compose(list(transforms)) if transforms else None
        self.autocast = autocast

    def denoise(self, noisy: Tensor, sigma: float, generators: Sequence[torch.Generator]) -> Tensor:
        """Denoised images; the noisy ones without a denoiser.

        Args:
            noisy: Images (B, 3, H, W), 0..255, in the channel order of the dataset.
            sigma: Standard deviation of their noise, images in [0, 1].
            generators: One per image, for denoisers that draw.

        Raises:
            ValueError: If the denoiser gives NaN or infinite pixels, of which a segmentor may make
                labels all the same.
        """
        if self.denoiser is None:
            return noisy
        swap = self.segmentor.data_preprocessor._channel_conversion
        rgb = (noisy.flip(1) if swap else noisy) / 255
        denoised = self.denoiser(rgb, sigma, list(generators)) * 255
        if not denoised.isfinite().all():
            raise ValueError(
                f"the {type(self.denoiser).__name__} gives NaN or infinite pixels at sigma "
                f"{sigma:g}: there is nothing to certify"
            )
        return denoised.flip(1) if swap else denoised

    def labels(self, images: Tensor, sample: SegDataSample) -> Tensor:
        """Predicted labels (B, H, W) at the original size.

        Args:
            images: Images (B, 3, h, w), 0..255, in the channel order of the dataset.
            sample: The sample that they come from: its sizes and paths.

        Raises:
            ValueError: If the segmentor's logits contain NaN.
        """
        # Sliding windows write into the metas they are given: every pass has its own.
        metas = [dict(sample.metainfo) for _ in images]
        inputs = list(images)
        if self.transforms is not None:
            inputs = [
                self._transform(image, meta) for image, meta in zip(inputs, metas, strict=True)
            ]
        # Behind the transforms: a resize to a fixed size would undo it.
        if self.scale is not None:
            if min(inputs[0].shape[1:]) * self.scale < 1:
                raise ValueError(
                    f"scale={self.scale:g} leaves no pixel of an image of "
                    f"{tuple(inputs[0].shape[1:])}: choose a larger one"
                )
            inputs = list(
                F.interpolate(
                    torch.stack(inputs), scale_factor=self.scale, mode="bilinear", antialias=True
                )
            )
        for image, meta in zip(inputs, metas, strict=True):
            meta["img_shape"] = meta["pad_shape"] = tuple(image.shape[1:])
        data = dict(inputs=inputs, data_samples=[SegDataSample(metainfo=meta) for meta in metas])
        with self._precision(images.device.type):
            data = self.segmentor.data_preprocessor(data, False)
            return predict_labels(self.segmentor, data["inputs"], data["data_samples"])

    def _transform(self, image: Tensor, meta: dict[str, Any]) -> Tensor:
        """Run the transforms behind the noise on one image (3, h, w)."""
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
        results = self.transforms(dict(img=pixels, img_shape=pixels.shape[:2]))
        meta.update({key: results[key] for key in ("scale_factor", "keep_ratio") if key in results})
        pixels = np.ascontiguousarray(results["img"].transpose(2, 0, 1))
        return torch.from_numpy(pixels).to(image.device)

    def _precision(self, device_type: str) -> contextlib.AbstractContextManager:
        if self.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(device_type, dtype=getattr(torch, self.autocast))
