from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class AddGaussianNoise(BaseTransform):
    """Adds Gaussian noise of an exact standard deviation: training for randomized smoothing.

    The image becomes float32 and is neither clipped nor rounded, as in certification. It must be
    the last transform that changes pixels: photometric and geometric ones change the noise.
    Source: Cohen et al., "Certified Adversarial Robustness via Randomized Smoothing", 2019.

    Required keys: ``img``. Modified keys: ``img``. Added keys: ``noise_sigma``, what was drawn.

    Args:
        sigma: Standard deviation for images in [0, 1], or the range (low, high) from which it is
            drawn uniformly for each image.

    Raises:
        ValueError: If sigma is negative, not finite, or no range.
    """

    def __init__(self, sigma: float | Sequence[float]) -> None:
        bounds = tuple(sigma) if isinstance(sigma, Sequence) else (sigma, sigma)
        if len(bounds) != 2 or not 0 <= bounds[0] <= bounds[1] < float("inf"):
            raise ValueError(
                f"sigma must be a finite number of at least 0 or a range (low, high), got {sigma}"
            )
        self.bounds = bounds

    def transform(self, results: dict) -> dict:
        """Add noise to the image (H, W, 3), 0..255."""
        sigma = np.random.uniform(*self.bounds)
        image = results["img"].astype(np.float32)
        noise = np.random.standard_normal(image.shape).astype(np.float32)
        results["img"] = image + np.float32(255 * sigma) * noise
        results["noise_sigma"] = sigma
        return results

    def __repr__(self) -> str:
        """Name and range."""
        return f"{type(self).__name__}(sigma={self.bounds})"
