from __future__ import annotations

from collections.abc import Sequence

import torch
from mmseg.registry import MODELS
from torch import Tensor

from .base_denoiser import BaseDenoiser


@MODELS.register_module()
class NonLocalMeansDenoiser(BaseDenoiser):
    """Averages pixels with similar surroundings: a baseline without weights, on the CPU.

    Source: Buades et al., "A Non-Local Algorithm for Image Denoising", 2005, as scikit-image
    implements it.

    Args:
        strength: Decay of the weights, in standard deviations of the noise. Defaults to 0.6.
        patch_size: Pixels of the compared squares. Defaults to 7.
        patch_distance: How far similar pixels are looked for. Defaults to 9.

    Raises:
        ImportError: Without the package ``scikit-image``.
        ValueError: If an argument is not positive.
    """

    def __init__(self, strength: float = 0.6, patch_size: int = 7, patch_distance: int = 9) -> None:
        super().__init__()
        if not strength > 0 or patch_size < 1 or patch_distance < 1:
            raise ValueError(
                "strength, patch_size and patch_distance must be positive, got "
                f"{strength}, {patch_size}, {patch_distance}"
            )
        try:
            from skimage.restoration import denoise_nl_means
        except ImportError as error:
            raise ImportError(
                f"{type(self).__name__} needs scikit-image: pip install scikit-image"
            ) from error
        self._filter = denoise_nl_means
        self.strength = strength
        self.patch_size = patch_size
        self.patch_distance = patch_distance

    def forward(
        self,
        noisy: Tensor,
        sigma: float,
        generators: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Denoise RGB images (B, 3, H, W) in [0, 1] units; deterministic."""
        # Floating-point images beyond [0, 1] are filtered as they are.
        filtered = [
            self._filter(
                image.permute(1, 2, 0).float().cpu().numpy(),
                patch_size=self.patch_size,
                patch_distance=self.patch_distance,
                h=self.strength * sigma,
                sigma=sigma,
                fast_mode=True,
                preserve_range=True,
                channel_axis=-1,
            )
            for image in noisy
        ]
        images = torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in filtered])
        return images.float().to(noisy.device)
