from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..foreign import OnnxNetwork
from ..foreign.foreign_network import shape_text
from .base_denoiser import BaseDenoiser
from .resolution import build_strategy


@MODELS.register_module()
class OnnxDenoiser(BaseDenoiser):
    """Any denoiser in an ONNX file that takes an image and a noise level.

    The level is a second input, of whatever shape the file says: a scalar, one number per image
    (n,), (n, 1, 1, 1), or a map (n, 1, height, width); or it is a fourth channel of the image. A
    file without it denoises one level, the one that it was trained for.

    Args:
        path: The file.
        level_scale: What sigma, of images in [0, 1], is multiplied by: 255 for a network that is
            told gray levels. Defaults to 1.
        divisor: Height and width that the network takes are multiples of it. Defaults to 1.
        strategy: How an image of any size meets the network, as in :class:`DiffusersDenoiser`:
            ``'native'``, ``'tile'``, ``'area'`` or ``'resize'``. Defaults to None: native for a
            file that takes any size, tiles of its size for others.
        strategy_options: Of the strategy.
        output: Of :class:`OnnxNetwork`.
        providers: Of :class:`OnnxNetwork`.
        threads: Of :class:`OnnxNetwork`.

    Raises:
        ImportError: Without the packages ``onnx`` and ``onnxruntime``.
        FileNotFoundError: If there is no such file.
        ValueError: If it has other inputs, or an argument is out of range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        level_scale: float = 1.0,
        divisor: int = 1,
        strategy: str | None = None,
        strategy_options: dict[str, Any] | None = None,
        output: str | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        threads: int | None = None,
    ) -> None:
        super().__init__()
        if not 0 < level_scale < float("inf"):
            raise ValueError(f"level_scale must be a positive number, got {level_scale}")
        if divisor < 1:
            raise ValueError(f"divisor must be at least 1, got {divisor}")
        self.network = OnnxNetwork(path, output, providers, threads)
        self.level_scale = level_scale
        shapes = self.network.input_shapes
        images = shapes[0]
        channels = (3, 4) if len(shapes) == 1 else (3,)
        known = len(images) == 4 and images[1] in channels
        known &= len(shapes) == 1 or (len(shapes) == 2 and len(shapes[1]) in (0, 1, 2, 4))
        if not known:
            raise ValueError(
                f"{path} takes {', '.join(map(shape_text, shapes))}; a denoiser takes images (n, "
                "3, height, width) first, then a noise level, or images with the level as a fourth "
                "channel"
            )
        height, width = images[2:]
        if (height is None) != (width is None):
            raise ValueError(f"{path} takes {shape_text(images)}: one side is fixed, one is free")
        strategy = strategy or ("native" if height is None else "tile")
        if height is not None and strategy == "native":
            raise ValueError(f"{path} takes {height}x{width} only: use strategy 'tile' or 'resize'")
        self.strategy = build_strategy(
            strategy,
            None if height is None else (height, width),
            divisor,
            strategy_options or {},
        )
        self.eval()

    @property
    def file_sha256(self) -> str:
        """SHA-256 of the file, which holds all of the network."""
        return self.network.file_sha256

    def forward(
        self,
        noisy: Tensor,
        sigma: float,
        generators: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Denoise RGB images (B, 3, H, W) in [0, 1] units; deterministic.

        Raises:
            ValueError: If the shape is another one, or the network gives another one.
        """
        if noisy.ndim != 4 or noisy.shape[1] != 3:
            raise ValueError(f"expected images (B, 3, H, W), got {tuple(noisy.shape)}")
        return self.strategy(self._denoise, noisy.float(), sigma, generators)

    def _denoise(
        self, noisy: Tensor, sigma: float, generators: Sequence[torch.Generator] | None
    ) -> Tensor:
        """Denoise images whose size suits the network."""
        images, *levels = self.network.input_shapes
        level = noisy.new_tensor(self.level_scale * sigma)
        if images[1] == 4:
            noisy = torch.cat([noisy, level.expand_as(noisy[:, :1])], dim=1)
        clean = self.network(noisy, *(_level(level, shape, noisy) for shape in levels)).float()
        wanted = (len(noisy), 3, *noisy.shape[2:])
        if clean.shape != wanted:
            raise ValueError(
                f"{self.network.path.name} gives {tuple(clean.shape)} for {tuple(noisy.shape)}, no "
                "image of that size (divisor says what sizes are multiples of)"
            )
        return clean


def _level(level: Tensor, shape: tuple[int | None, ...], images: Tensor) -> Tensor:
    """The noise level in the shape of an input: a map where the file does not say 1."""
    sides = images.shape[2:] if len(shape) == 4 else (1,) * 2
    full = (len(images), 1, *sides)[: len(shape)]
    lengths = [own if said is None else said for own, said in zip(full, shape, strict=True)]
    return level.expand(lengths)
