from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...utils.checkpoint import check_finite, read_weights
from .base_denoiser import BaseDenoiser


@MODELS.register_module()
class DnCNNDenoiser(BaseDenoiser):
    """Residual denoiser of denoised smoothing: 3x3 convolutions predict the noise.

    Such a network is trained for one noise level, which it is not told: use weights of the sigma
    that is certified. Sources: Zhang et al., "Beyond a Gaussian Denoiser", 2017; Salman et al.,
    "Denoised Smoothing: A Provable Defense for Pretrained Classifiers", 2020, whose checkpoints
    load as they are.

    Args:
        path: Local checkpoint: a state dict, or a dict with one under ``state_dict``. Depth and
            width (17 layers of 64 channels as published) are read from it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no DnCNN for RGB images.
        UserError: If its weights are not finite.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        weights = _load(Path(path))
        kernels = [value for value in weights.values() if value.ndim == 4]
        if len(kernels) < 2:
            raise ValueError(f"{path} holds no DnCNN: {len(kernels)} convolutions")
        self.dncnn = dncnn(len(kernels), len(kernels[0]))
        try:
            self.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(
                f"{path} holds no DnCNN of {len(kernels)} layers for RGB images: {error}"
            ) from error
        check_finite(weights, path)
        self.eval().requires_grad_(False)

    def forward(
        self,
        noisy: Tensor,
        sigma: float,
        generators: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Denoise RGB images (B, 3, H, W) in [0, 1] units; deterministic, whatever the sigma."""
        return noisy - self.dncnn(noisy)


def dncnn(depth: int = 17, channels: int = 64) -> nn.Sequential:
    """Network that predicts the noise of RGB images (B, 3, H, W).

    Args:
        depth: Number of 3x3 convolutions.
        channels: Width of the hidden layers.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(inplace=True)]
    for _ in range(depth - 2):
        layers += [
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels, eps=1e-4),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.Conv2d(channels, 3, 3, padding=1, bias=False))


def _load(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}. Nothing is downloaded: fetch the denoisers that "
            "github.com/microsoft/denoised-smoothing links to, and give their checkpoint.pth.tar"
        )
    return read_weights(path)
