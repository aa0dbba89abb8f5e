from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...utils.checkpoint import check_finite
from .base_denoiser import BaseDenoiser

# Side of the squares of pixels that become channels.
_SQUARE = 2


@MODELS.register_module()
class FFDNetDenoiser(BaseDenoiser):
    """FFDNet: convolutions at half resolution that are told the noise level.

    Squares of 2x2 pixels become channels, one more channel is sigma, convolutions with ReLU between
    give the clean squares. Odd sizes are padded by replication and cut off again. The published
    color network (12 convolutions of 96 channels) was trained for sigma up to 75/255.

    Source: Zhang, Zuo, Zhang, "FFDNet: Toward a Fast and Flexible Solution for CNN based Image
    Denoising", IEEE TIP 2018; layout of the weights: github.com/cszn/KAIR.

    Args:
        path: ``.safetensors`` file with ``model.0.weight``, ``model.0.bias``, ``model.2.weight``,
            ...; depth and width are read from it. The authors' ``.pth`` is converted by
            ``lipcert ffdnet-to-safetensors``.
        dtype: Of the convolutions: ``'float32'``, ``'bfloat16'`` or ``'float16'``; what is around
            them stays in float32. Defaults to ``'float32'``.
        channels_last: Memory layout of the convolutions. Defaults to False.

    Raises:
        ImportError: Without the package ``safetensors``.
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no FFDNet for RGB images, or the dtype is another one.
        UserError: If its weights are not finite.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        dtype: str = "float32",
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        if dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError(f"dtype must be 'float32', 'bfloat16' or 'float16', got {dtype!r}")
        try:
            from safetensors import SafetensorError
            from safetensors.torch import load_file
        except ModuleNotFoundError as error:
            raise ImportError(
                f"{type(self).__name__} needs safetensors: pip install safetensors"
            ) from error
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"there is no {path}. Nothing is downloaded: fetch ffdnet_color.pth from the "
                "releases of github.com/cszn/KAIR and convert it with "
                "lipcert ffdnet-to-safetensors"
            )
        try:
            weights = load_file(path)
        except SafetensorError as error:
            raise ValueError(
                f"{path} is no safetensors file ({error}); a .pth is converted with "
                "lipcert ffdnet-to-safetensors"
            ) from error
        try:
            self.model = ffdnet(*ffdnet_size(weights))
            # Copied out of the mapped file, whose alignment would decide how sums are rounded.
            self.load_state_dict({key: value.clone() for key, value in weights.items()})
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{path} holds no FFDNet for RGB images: {error}") from error
        check_finite(weights, path)
        self.dtype = getattr(torch, dtype)
        layout = torch.channels_last if channels_last else torch.preserve_format
        self.model.to(self.dtype, memory_format=layout)
        self.eval().requires_grad_(False)

    def forward(
        self,
        noisy: Tensor,
        sigma: float,
        generators: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Denoise RGB images (B, 3, H, W) in [0, 1] units, of any size; deterministic.

        Raises:
            ValueError: If the shape is another one.
        """
        if noisy.ndim != 4 or noisy.shape[1] != 3:
            raise ValueError(f"expected images (B, 3, H, W), got {tuple(noisy.shape)}")
        height, width = noisy.shape[2:]
        images = F.pad(noisy, (0, width % _SQUARE, 0, height % _SQUARE), mode="replicate")
        squares = F.pixel_unshuffle(images, _SQUARE)
        level = torch.full_like(squares[:, :1], sigma)
        clean = self.model(torch.cat([squares, level], dim=1).to(self.dtype))
        return F.pixel_shuffle(clean.float(), _SQUARE)[:, :, :height, :width]


def ffdnet(depth: int = 12, channels: int = 96) -> nn.Sequential:
    """Network from squares of RGB pixels and their noise level (B, 13, h, w) to squares.

    Args:
        depth: Number of 3x3 convolutions.
        channels: Width of the hidden layers.
    """
    widths = [3 * _SQUARE**2 + 1, *[channels] * (depth - 1), 3 * _SQUARE**2]
    layers: list[nn.Module] = []
    for narrow, wide in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Conv2d(narrow, wide, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


def ffdnet_size(weights: Mapping[str, Tensor]) -> tuple[int, int]:
    """Depth and width of a network with these weights.

    Raises:
        ValueError: If they are not named as published.
    """
    depth = sum(key.endswith(".weight") for key in weights)
    keys = {f"model.{2 * i}.{part}" for i in range(depth) for part in ("weight", "bias")}
    if depth < 2 or set(weights) != keys:
        raise ValueError(
            "its keys are not model.0.weight, model.0.bias, model.2.weight, ..., but "
            f"{', '.join(sorted(weights)[:4])}, ..."
        )
    return depth, len(weights["model.0.weight"])
