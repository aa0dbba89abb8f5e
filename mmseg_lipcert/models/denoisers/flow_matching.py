from __future__ import annotations

import math

from torch import Tensor

from .noise_family import NoiseFamily


class FlowMatching(NoiseFamily):
    """Rectified flow: ``x_t = (1 - t) x0 + t e``, the network predicts ``e - x0``.

    Source: Lipman et al., "Flow Matching for Generative Modeling", 2023.

    Args:
        num_timesteps: Scale of the timesteps. Defaults to 1000.

    Raises:
        ValueError: If it is not positive.
    """

    smallest_level = 0.0

    def __init__(self, num_timesteps: int = 1000) -> None:
        if not 0 < num_timesteps < math.inf:
            raise ValueError(f"num_timesteps must be a positive number, got {num_timesteps}")
        self.num_timesteps = num_timesteps

    def timestep(self, level: float) -> float:
        """``t = s / (1 + s)``, scaled; every positive level has one."""
        if not 0 < level < math.inf:
            raise ValueError(f"the noise level must be a positive number, got {level}")
        return self.num_timesteps * level / (1 + level)

    def network_input(self, noisy: Tensor, level: float) -> Tensor:
        """``y / (1 + s)``."""
        return noisy / (1 + level)

    def clean(self, noisy: Tensor, level: float, output: Tensor) -> Tensor:
        """``x0 = (y - s v) / (1 + s)``."""
        return (noisy - level * output) / (1 + level)
