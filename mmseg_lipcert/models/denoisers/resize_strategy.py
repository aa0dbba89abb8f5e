from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .native_strategy import NativeStrategy
from .resolution_strategy import Denoise, ResolutionStrategy


class ResizeStrategy(ResolutionStrategy):
    """The whole image resized to the training size and back, as in published work.

    Args:
        size: Height and width that the network sees.
        divisor: Height and width must be multiples of it.
        keep_aspect: Scale both sides alike, so that the smaller one fits; the network then sees a
            larger image. Defaults to False: squash.
        corrected: Tell the denoiser the noise that the resize leaves instead of the nominal one.
            Defaults to True; False only reproduces published numbers.
    """

    def __init__(
        self,
        size: tuple[int, int],
        divisor: int,
        keep_aspect: bool = False,
        corrected: bool = True,
    ) -> None:
        self.size = size
        self.keep_aspect = keep_aspect
        self.corrected = corrected
        self.native = NativeStrategy(divisor)

    def __call__(
        self,
        denoise: Denoise,
        images: Tensor,
        sigma: float,
        generators: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Denoise images (B, 3, H, W) of any size."""
        original = tuple(images.shape[2:])
        size = self.size
        if self.keep_aspect:
            ratio = max(s / o for s, o in zip(self.size, original, strict=True))
            size = tuple(round(o * ratio) for o in original)
        if self.corrected:
            sigma = sigma * resize_gain(original, size)
        small = self.native(denoise, _resize(images, size), sigma, generators)
        return _resize(small, original)


@lru_cache(maxsize=64)
def resize_gain(original: tuple[int, int], size: tuple[int, int]) -> float:
    """Standard deviation of resized unit white noise: root mean square over the pixels.

    The resize is separable: a pixel's variance is the product of the squared row norms of the two
    one-dimensional matrices.

    Args:
        original: Height and width of the noise.
        size: Height and width after the resize (bilinear, antialiased).
    """
    gain = 1.0
    for before, after in zip(original, size, strict=True):
        # Rows of pixels that are one in a single place: columns of the one-dimensional matrix.
        matrix = _resize(torch.eye(before)[None, None], (before, after))[0, 0].double()
        gain *= matrix.square().sum(0).mean().item()
    return gain**0.5


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(images, size=size, mode="bilinear", antialias=True)
