from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class BaseDenoiser(nn.Module):
    """Base of denoisers: part of the base classifier of smoothing, so it may be any map.

    A poor denoiser costs accuracy, never soundness, as long as it is the same for every draw and
    whatever it draws comes from the given generators.
    """

    @abstractmethod
    def forward(
        self,
        noisy: Tensor,
        sigma: float,
        generators: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Remove Gaussian noise.

        Args:
            noisy: RGB images in [0, 1] plus noise (B, 3, H, W), float32, not clipped.
            sigma: Standard deviation of the noise, images in [0, 1].
            generators: One per image, for denoisers that draw; deterministic ones ignore them.

        Returns:
            Denoised images (B, 3, H, W), float32, in [0, 1] units.
        """

    def check_sigma(self, sigma: float, size: tuple[int, int]) -> None:  # noqa: B027
        """Refuse noise that this denoiser was not made for, without any work.

        Args:
            sigma: Standard deviation of the noise, images in [0, 1].
            size: Height and width of the images.

        Raises:
            ValueError: Naming the range.
        """
