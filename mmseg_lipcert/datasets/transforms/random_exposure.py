from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomExposure(BaseTransform):
    """Random light and camera: gamma, saturation, gain, white balance and an offset.

    Wider than ``PhotoMetricDistortion``, towards the dark in particular: a 1-Lipschitz network
    cannot normalize its input, so that an exposure it never saw costs it margins and pixels.

    Required keys: ``img`` (H, W, 3), 0..255. Modified keys: ``img``, float32 within 0..255.

    Args:
        gain: Range of the common factor, drawn on a logarithmic scale. Defaults to (0.4, 1.4).
        gamma: Range of the exponent on values in [0, 1], likewise. Defaults to (0.65, 1.55).
        saturation: Range of the factor of the distance from gray. Defaults to (0.5, 1.4).
        white_balance: Standard deviation of each channel's log gain. Defaults to 0.08.
        offset: Largest shift of all values, in [0, 1] units. Defaults to 0.06.
        prob: Probability of each of gain and gamma; the rest always changes. Defaults to 0.7.

    Raises:
        ValueError: If a range is no pair of positive numbers (low, high), or another number is
            negative.
    """

    def __init__(
        self,
        gain: Sequence[float] = (0.4, 1.4),
        gamma: Sequence[float] = (0.65, 1.55),
        saturation: Sequence[float] = (0.5, 1.4),
        white_balance: float = 0.08,
        offset: float = 0.06,
        prob: float = 0.7,
    ) -> None:
        for name, bounds in dict(gain=gain, gamma=gamma, saturation=saturation).items():
            if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1] < float("inf"):
                raise ValueError(f"{name} must be a range (low, high) above 0, got {bounds}")
        if not (white_balance >= 0 and offset >= 0 and 0 <= prob <= 1):
            raise ValueError(
                "white_balance and offset must be at least 0 and prob in [0, 1], got "
                f"{white_balance}, {offset} and {prob}"
            )
        self.gain, self.gamma, self.saturation = tuple(gain), tuple(gamma), tuple(saturation)
        self.white_balance, self.offset, self.prob = white_balance, offset, prob

    def transform(self, results: dict) -> dict:
        """Change the light of the image."""
        image = results["img"].astype(np.float32) / 255
        random = np.random
        if random.uniform() < self.prob:
            image **= np.float32(_log_uniform(self.gamma))
        gray = image.mean(axis=2, keepdims=True)
        image = gray + (image - gray) * np.float32(random.uniform(*self.saturation))
        gains = np.exp(random.normal(0, self.white_balance, 3))
        if random.uniform() < self.prob:
            gains *= _log_uniform(self.gain)
        shift = random.uniform(-self.offset, self.offset)
        image = image * gains.astype(np.float32) + np.float32(shift)
        results["img"] = image.clip(0, 1) * 255
        return results

    def __repr__(self) -> str:
        """Name and settings."""
        return (
            f"{type(self).__name__}(gain={self.gain}, gamma={self.gamma}, "
            f"saturation={self.saturation}, white_balance={self.white_balance}, "
            f"offset={self.offset}, prob={self.prob})"
        )


def _log_uniform(bounds: tuple[float, float]) -> float:
    return float(np.exp(np.random.uniform(log(bounds[0]), log(bounds[1]))))
