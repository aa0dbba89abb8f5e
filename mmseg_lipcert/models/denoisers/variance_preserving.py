from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from .noise_family import NoiseFamily


class VariancePreserving(NoiseFamily):
    r"""DDPM, DDIM, PNDM, DPM-Solver: :math:`x_t = \sqrt{\bar a} x_0 + \sqrt{1 - \bar a} e`.

    A level s is :math:`\sqrt{(1 - \bar a) / \bar a}`. :math:`\bar a = 1 / (1 + s^2)` is used as it
    is; only the timestep is interpolated, log s over log s(t), 0-based and continuous.
    Sources: Ho et al., "Denoising Diffusion Probabilistic Models", 2020; Salimans and Ho,
    "Progressive Distillation", 2022 (v-prediction).

    Args:
        alphas_cumprod: The schedule's cumulative products.
        prediction: ``'epsilon'``, ``'v_prediction'`` or ``'sample'``.
        clip: Clean images are clipped to this range. Defaults to None.

    Raises:
        ValueError: If the prediction type is unknown, the schedule's noise levels do not rise
            strictly from a positive one, or the clipping range is not positive.
    """

    def __init__(self, alphas_cumprod: Tensor, prediction: str, clip: float | None = None) -> None:
        if prediction not in ("epsilon", "v_prediction", "sample"):
            raise ValueError(
                f"prediction must be 'epsilon', 'v_prediction' or 'sample', got {prediction!r}"
            )
        products = alphas_cumprod.double().numpy()
        # A schedule with zero terminal signal ends at an infinite level, for which some schedulers
        # store 2^-24: nobody asks for it.
        if len(products) and products[-1] == 2.0**-24:
            products = products[:-1]
        signal = np.flatnonzero(~(abs(products) <= 1e-12))
        if not len(signal):
            raise ValueError(f"the schedule has no noise levels: {len(alphas_cumprod)} timesteps")
        products = products[: signal[-1] + 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            self.levels = np.sqrt((1 - products) / products)
        wrong = np.flatnonzero(~(np.diff(self.levels, prepend=0.0) > 0))
        if len(wrong):
            step = wrong[0]
            before = f" after {self.levels[step - 1]:.4g}" if step else ""
            raise ValueError(
                "the schedule's noise levels must be positive, finite and strictly increasing, got "
                f"{self.levels[step]:.4g}{before} at timestep {step}"
            )
        if clip is not None and not clip > 0:
            raise ValueError(f"clip must be a positive number, got {clip}")
        self.smallest_level = float(self.levels[0])
        self.prediction = prediction
        self.clip = clip

    def timestep(self, level: float) -> float:
        """Continuous, 0-based timestep of a level."""
        low, high = self.levels[0], self.levels[-1]
        if not low <= level <= high:
            raise ValueError(
                f"noise level {level:g} is outside of the schedule's range {low:.4g} to {high:.4g} "
                f"(sigma {low / 2:.4g} to {high / 2:.4g} on [0, 1])"
            )
        return float(np.interp(math.log(level), np.log(self.levels), np.arange(len(self.levels))))

    def network_input(self, noisy: Tensor, level: float) -> Tensor:
        """``y / sqrt(1 + s^2)``."""
        return noisy / math.sqrt(1 + level**2)

    def clean(self, noisy: Tensor, level: float, output: Tensor) -> Tensor:
        """x0 in closed form."""
        if self.prediction == "epsilon":
            found = noisy - level * output
        elif self.prediction == "v_prediction":
            found = noisy / (1 + level**2) - level / math.sqrt(1 + level**2) * output
        else:
            found = output
        return found if self.clip is None else found.clamp(-self.clip, self.clip)
