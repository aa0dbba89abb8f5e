from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .padding import pad_to, round_up
from .resolution_strategy import Denoise, ResolutionStrategy


class AreaStrategy(ResolutionStrategy):
    """Denoise at 1/factor of the resolution: averaging divides white noise by the factor.

    Averages of disjoint squares are the only smaller image whose noise is white again, as the
    network expects it; it is told the level that is left. The result is enlarged bilinearly.

    Args:
        inner: Strategy at the small size.
        factor: Averaged pixels in each direction. Defaults to 2.

    Raises:
        ValueError: If the factor is below 2.
    """

    def __init__(self, inner: ResolutionStrategy, factor: int = 2) -> None:
        if factor < 2:
            raise ValueError(f"factor must be at least 2, got {factor}")
        self.inner = inner
        self.factor = factor

    def __call__(
        self,
        denoise: Denoise,
        images: Tensor,
        sigma: float,
        generators: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Denoise images (B, 3, H, W) of any size."""
        height, width = images.shape[2:]
        padded = pad_to(images, round_up(height, self.factor), round_up(width, self.factor))
        small = F.avg_pool2d(padded, self.factor)
        small = self.inner(denoise, small, sigma / self.factor, generators)
        large = F.interpolate(small, size=padded.shape[2:], mode="bilinear", align_corners=False)
        return large[:, :, :height, :width]
