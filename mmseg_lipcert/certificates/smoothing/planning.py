"""What more draws would certify, predicted from a few: for choosing settings, never for claims."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from .corrections import PIXEL_CORRECTIONS, holm_threshold
from .metric_level import TOLERANCE, metric_level_k
from .settings import SmoothingSettings

# Probabilities of a hit that are told apart; most pixels are close to one.
_GRID = 1 - np.concatenate([[1e-6], np.geomspace(1e-4, 1, 200)])
_ROUNDS = 300


@dataclass(frozen=True)
class Prediction:
    """What a certification with some settings would find.

    Args:
        certified: Share of all pixels that would be certified.
        accuracy: Share of the labeled pixels that would be certified with their label.
    """

    certified: float
    accuracy: float


def hit_probabilities(histogram: np.ndarray) -> np.ndarray:
    """How the probabilities of a hit are spread over pixels, from the hits of a few draws.

    The distribution on a grid that makes the observed hits most likely (maximum likelihood of a
    mixture, Laird 1978), by expectation maximization.

    Args:
        histogram: Pixels with 0, ..., m hits of m draws, shape (m + 1,).

    Returns:
        Pixels per probability of the grid, float64; as many as in the histogram.
    """
    counts = np.asarray(histogram, dtype=np.float64)
    likelihood = binom.pmf(np.arange(len(counts))[:, None], len(counts) - 1, _GRID)
    pixels = np.full(len(_GRID), counts.sum() / len(_GRID))
    for _ in range(_ROUNDS):
        expected = np.maximum(likelihood @ pixels, np.finfo(float).tiny)
        pixels = pixels * (likelihood.T @ (counts / expected))
    return pixels


def predict(
    right: np.ndarray, other: np.ndarray, unlabeled: np.ndarray, settings: SmoothingSettings
) -> list[Prediction]:
    """Predict the share of certified pixels and the certified accuracy of an image.

    Args:
        right: Pixels with 0, ..., m hits of m pilot draws whose class is their label.
        other: The same of pixels with another label.
        unlabeled: The same of pixels without label.
        settings: What would be claimed, from which numbers of draws.

    Returns:
        One prediction for each tau.
    """
    spread = [hit_probabilities(histogram) for histogram in (right, other, unlabeled)]
    tested, labeled = sum(map(np.sum, spread)), np.sum(spread[0]) + np.sum(spread[1])
    found = []
    for tau in settings.taus:
        threshold = _threshold(np.sum(spread, axis=0), settings, tau)
        passing = binom.sf(threshold - 1, settings.n, _GRID)
        allowance = 0.0 if settings.correction in PIXEL_CORRECTIONS else TOLERANCE
        found.append(
            Prediction(
                certified=float((sum(spread) * passing).sum() / tested),
                accuracy=max(0.0, float((spread[0] * passing).sum() / labeled) - allowance),
            )
        )
    return found


def _threshold(pixels: np.ndarray, settings: SmoothingSettings, tau: float) -> int:
    """Hits that would certify a pixel."""
    n = settings.n
    if settings.correction == "metric":
        return metric_level_k(n, tau, settings.alpha_per_event)
    expected = binom.pmf(np.arange(n + 1)[:, None], n, _GRID) @ pixels
    alpha, correction = settings.alpha_per_tau, settings.correction
    return holm_threshold(np.rint(expected), n, tau, alpha, correction, settings.k)
