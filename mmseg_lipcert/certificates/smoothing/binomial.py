"""The binomial test behind every smoothed certificate, one value per number of hits."""

import math

import numpy as np
from scipy.stats import beta, binom, norm

# Relative error allowed for SciPy's binomial tail: below 2e-12 up to a million draws, measured
# against sums with 60 digits.
_TAIL_ERROR = 1e-11

#: Draws of a stage, at most: up to here SciPy's tail is known to be exact enough.
MAX_DRAWS = 10**6
# More than SciPy's relative error of a Clopper-Pearson bound.
_BOUND_ERROR = 1e-11
# A smaller probability of failure, shared among pixels, taus and events, would leave the range in
# which float64 has all its digits, where a p-value rounded to zero is not below every level.
_SMALLEST_ALPHA = 1e-290


def check_tau(tau: float) -> float:
    """Return the probability that a smoothed certificate claims, in [0.5, 1).

    Raises:
        ValueError: Otherwise.
    """
    value = float(tau)
    if not 0.5 <= value < 1:
        raise ValueError(f"tau must be in [0.5, 1), got {value}")
    return value


def check_alpha(alpha: float) -> float:
    """Return the probability of a false certificate, in (0, 1).

    Raises:
        ValueError: Otherwise, or if it is too small to be computed with.
    """
    value = float(alpha)
    if 0 < value < _SMALLEST_ALPHA:
        raise ValueError(f"alpha must be at least {_SMALLEST_ALPHA}, got {value}")
    if not 0 < value < 1:
        raise ValueError(f"alpha must be in (0, 1), got {value}")
    return value


def check_draws(draws: int, name: str = "n") -> int:
    """Return a number of draws as an integer in [1, MAX_DRAWS].

    Raises:
        ValueError: Otherwise.
    """
    if isinstance(draws, bool) or not 1 <= draws <= MAX_DRAWS or int(draws) != draws:
        raise ValueError(f"{name} must be an integer from 1 to {MAX_DRAWS}, got {draws!r}")
    return int(draws)


def p_value_table(n: int, tau: float) -> np.ndarray:
    """P-value of "a hit has probability at most tau" for every number of hits.

    Source: Fischer et al., "Scalable Certified Segmentation via Randomized Smoothing", ICML 2021.

    Args:
        n: Number of draws.
        tau: Probability claimed, in [0.5, 1).

    Returns:
        P(Bin(n, tau) >= h) for h = 0, ..., n, rounded up: float64, shape (n + 1,), decreasing
        from 1.

    Raises:
        ValueError: If n or tau is out of range.
    """
    n = check_draws(n)
    tail = binom.sf(np.arange(-1, n), n, check_tau(tau))
    return np.minimum(tail * (1 + _TAIL_ERROR), 1.0)


def required_draws(tested: int, tau: float, alpha: float, k: int = 1) -> int:
    """Smallest number of draws with which one of the tested pixels can be certified at all.

    With all draws hits the p-value is tau^n, which must not exceed k alpha / tested.

    Args:
        tested: Number of pixels tested together.
        tau: Probability claimed, in [0.5, 1).
        alpha: Probability of a false certificate, in (0, 1).
        k: Wrong certificates that must not be reached: 1, or more for k-FWER.

    Raises:
        ValueError: If an argument is out of range.
    """
    if tested < 1 or k < 1:
        raise ValueError(f"tested and k must be >= 1, got {tested} and {k}")
    return draws_for_level(min(k, tested) * check_alpha(alpha) / tested, tau)


def draws_for_level(level: float, tau: float, misses: int = 0) -> int:
    """Smallest number of draws whose p-value, if all but so many are hits, is at most a level.

    It may exceed ``MAX_DRAWS``, where nobody can draw so many.

    Args:
        level: In (0, 1).
        tau: Probability claimed, in [0.5, 1).
        misses: Draws that are no hits. Defaults to 0.

    Raises:
        ValueError: If tau is out of range.
    """
    tau = check_tau(tau)

    def enough(n: int) -> bool:
        # One value of the table without the table; beyond the table a closed form without misses.
        tail = binom.sf(n - misses - 1, n, tau) if n <= MAX_DRAWS else tau**n
        return min(tail * (1 + _TAIL_ERROR), 1.0) <= level

    high = 1
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def plateau_start(n: int, tau: float, level: float) -> int:
    """Smallest number of draws that allows as many misses as ``n`` does.

    With as many misses allowed, fewer draws cost less and certify more: every draw can miss.

    Args:
        n: Number of draws.
        tau: Probability claimed, in [0.5, 1).
        level: P-value that certifies, in (0, 1).

    Returns:
        At most n; n itself if it certifies nothing.

    Raises:
        ValueError: If n or tau is out of range.
    """
    certifying = int((p_value_table(n, tau) <= level).sum())
    return draws_for_level(level, tau, certifying - 1) if certifying else n


def smoothing_radius(sigma: float, tau: float) -> float:
    """Radius (l2, images in [0, 1]) within which a probability above tau stays above one half.

    Source: Cohen et al., "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019.

    Args:
        sigma: Standard deviation of the noise, images in [0, 1].
        tau: Probability claimed, in [0.5, 1).

    Raises:
        ValueError: If sigma or tau is out of range.
    """
    if not (math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma must be finite and > 0, got {sigma}")
    return float(sigma) * float(norm.ppf(check_tau(tau)))


def clopper_pearson_radii(n: int, sigma: float, alpha: float, tested: int) -> np.ndarray:
    """Radius that a number of hits proves, for all tested pixels together.

    One lower confidence bound per pixel at alpha / tested: with probability >= 1 - alpha the radii
    of all pixels hold, so the certified accuracy at every radius follows from one map.
    Source: Clopper and Pearson, Biometrika 1934; Cohen et al., ICML 2019.

    Args:
        n: Number of draws of the second stage.
        sigma: Standard deviation of the noise, images in [0, 1].
        alpha: Probability that any radius is wrong, in (0, 1).
        tested: Number of pixels tested together.

    Returns:
        l2 radii for 0, ..., n hits, float64, rounded down; 0 where nothing is proven.

    Raises:
        ValueError: If an argument is out of range.
    """
    n, level = check_draws(n), check_alpha(alpha) / tested
    smoothing_radius(sigma, 0.5)
    hits = np.arange(1, n + 1)
    lower = beta.ppf(level, hits, n - hits + 1) * (1 - _BOUND_ERROR)
    # SciPy gives up for extreme levels: what the tail does not confirm proves nothing.
    for factor in (1 - 1e-6, 0.0):
        lower[~(binom.sf(hits - 1, n, lower) <= level)] *= factor
    lower = np.concatenate([[0.0], lower])
    return np.where(lower > 0.5, sigma * norm.ppf(np.maximum(lower, 0.5)), 0.0)
