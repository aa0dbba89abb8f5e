from __future__ import annotations

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmseg.registry import MODELS, TRANSFORMS


@TRANSFORMS.register_module()
class Denoise(BaseTransform):
    """Removes the noise of ``AddGaussianNoise`` by a denoiser: training behind that denoiser.

    A segmentor that is certified behind a denoiser sees what the denoiser leaves, with its blur and
    its inventions. It comes right after ``AddGaussianNoise`` and tells the denoiser the noise level
    that was drawn. Denoisers that draw numbers of their own are left to themselves.

    Required keys: ``img``, ``noise_sigma``. Modified keys: ``img``.

    Args:
        denoiser: Config of the denoiser. It runs on the CPU, in the workers of the dataloader, one
            thread each.
        bgr_to_rgb: Whether images are BGR, as files are read. Defaults to True.
    """

    def __init__(self, denoiser: dict, bgr_to_rgb: bool = True) -> None:
        self.denoiser = MODELS.build(denoiser)
        self.bgr_to_rgb = bgr_to_rgb

    @torch.no_grad()
    def transform(self, results: dict) -> dict:
        """Denoise the image (H, W, 3), 0..255; float32, neither clipped nor rounded."""
        if "noise_sigma" not in results:
            raise ValueError("Denoise needs the noise level of AddGaussianNoise in front of it")
        image = torch.from_numpy(results["img"]).permute(2, 0, 1)[None] / 255
        clean = self.denoiser(self._swap(image), results["noise_sigma"])
        pixels = self._swap(255 * clean)[0].permute(1, 2, 0)
        results["img"] = np.ascontiguousarray(pixels.numpy())
        return results

    def _swap(self, images: torch.Tensor) -> torch.Tensor:
        return images.flip(1) if self.bgr_to_rgb else images

    def __repr__(self) -> str:
        """Name and denoiser."""
        return f"{type(self).__name__}(denoiser={type(self.denoiser).__name__})"
