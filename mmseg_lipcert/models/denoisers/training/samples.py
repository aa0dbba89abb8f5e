"""Pictures of what a denoiser does."""

from __future__ import annotations

import os
from collections.abc import Sequence

import mmcv
import numpy as np
import torch
from torch import Tensor

from mmseg_lipcert.certificates.smoothing import draw_noise

from ..base_denoiser import BaseDenoiser


@torch.no_grad()
def save_samples(
    path: str | os.PathLike[str],
    denoiser: BaseDenoiser,
    images: Sequence[np.ndarray],
    sigmas: Sequence[float] = (0.1, 0.25, 0.5),
) -> dict[float, float]:
    """Draw clean, noisy and denoised images, one row per image and sigma.

    Args:
        path: PNG to write.
        denoiser: What denoises.
        images: RGB (H, W, 3), uint8. Of each the center is used, as large as the smallest image,
            512 pixels at most.
        sigmas: Noise levels on [0, 1].

    Returns:
        Peak signal-to-noise ratio in dB of the denoised images, by sigma.
    """
    height, width = (min(512, *(image.shape[axis] for image in images)) for axis in (0, 1))
    rows, ratios = [], {}
    for sigma in sigmas:
        errors = []
        for number, image in enumerate(images):
            top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
            center = image[top : top + height, left : left + width]
            clean = torch.from_numpy(center.transpose(2, 0, 1) / np.float32(255))[None]
            noise = draw_noise(0, f"sample {number}", "picture", 0, clean.shape)
            noisy = clean + sigma * noise
            denoised = denoiser(noisy, sigma)
            errors.append((denoised.clamp(0, 1) - clean).square().mean().item())
            rows.append(torch.cat((clean, noisy, denoised), 3)[0])
        ratios[sigma] = -10 * float(np.log10(np.mean(errors)))
    mmcv.imwrite(_pixels(torch.cat(rows, 1))[..., ::-1], os.fspath(path))
    return ratios


def _pixels(image: Tensor) -> np.ndarray:
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
