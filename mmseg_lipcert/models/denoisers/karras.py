from __future__ import annotations

import math

from torch import Tensor

from .noise_family import NoiseFamily


class Karras(NoiseFamily):
    """EDM: preconditioned denoisers on ``y = x0 + s e``.

    Source: Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models",
    2022, table 1.

    Args:
        sigma_data: Standard deviation of the data. Defaults to 0.5.
        prediction: ``'epsilon'`` (EDM) or ``'v_prediction'`` (its sign is turned).
        levels: Levels that the model was trained for.

    Raises:
        ValueError: If the prediction type is unknown or a number is out of range.
    """

    def __init__(
        self,
        sigma_data: float = 0.5,
        prediction: str = "epsilon",
        levels: tuple[float, float] = (0.002, 80.0),
    ) -> None:
        if prediction not in ("epsilon", "v_prediction"):
            raise ValueError(f"prediction must be 'epsilon' or 'v_prediction', got {prediction!r}")
        if not 0 < sigma_data < math.inf:
            raise ValueError(f"sigma_data must be a positive number, got {sigma_data}")
        if not 0 < levels[0] < levels[1]:
            raise ValueError(
                f"levels must satisfy 0 < sigma_min < sigma_max, got {levels[0]} and {levels[1]}"
            )
        self.sigma_data = sigma_data
        self.sign = 1.0 if prediction == "epsilon" else -1.0
        self.smallest_level, self.largest_level = levels

    def timestep(self, level: float) -> float:
        """``ln(s) / 4``."""
        low, high = self.smallest_level, self.largest_level
        if not low <= level <= high:
            raise ValueError(
                f"noise level {level:g} is outside of the model's range {low:g} to {high:g} "
                f"(sigma {low / 2:g} to {high / 2:g} on [0, 1])"
            )
        return math.log(level) / 4

    def network_input(self, noisy: Tensor, level: float) -> Tensor:
        """``y / sqrt(s^2 + sigma_data^2)``."""
        return noisy / math.hypot(level, self.sigma_data)

    def clean(self, noisy: Tensor, level: float, output: Tensor) -> Tensor:
        """``c_skip y + c_out F``."""
        total = level**2 + self.sigma_data**2
        skip = self.sigma_data**2 / total
        return skip * noisy + self.sign * level * self.sigma_data / math.sqrt(total) * output
