from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .padding import pad_to, round_up
from .resolution_strategy import Denoise, ResolutionStrategy


class NativeStrategy(ResolutionStrategy):
    """The whole image in one fully convolutional pass, mirrored up to what the network divides by.

    Args:
        divisor: Height and width must be multiples of it.
    """

    def __init__(self, divisor: int) -> None:
        self.divisor = divisor

    def __call__(
        self,
        denoise: Denoise,
        images: Tensor,
        sigma: float,
        generators: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Denoise images (B, 3, H, W) of any size."""
        height, width = images.shape[2:]
        padded = pad_to(images, round_up(height, self.divisor), round_up(width, self.divisor))
        return denoise(padded, sigma, generators)[:, :, :height, :width]
