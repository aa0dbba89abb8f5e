"""Certificates of metrics: how many of the pixels with enough hits can be wrong."""

import math
from fractions import Fraction

import numpy as np
from torch import Tensor

from .binomial import check_alpha, draws_for_level, p_value_table
from .corrections import histogram_array

#: Share of the tested pixels that wrong certificates may make up, unless said otherwise.
TOLERANCE = 0.002

#: Events from which the figures of a dataset follow, each with an equal part of alpha: how many
#: certificates are wrong, their mean share of an image, and their mean share of a class.
METRIC_EVENTS = 3


def markov_count(population: int, chance: float, alpha: float) -> int:
    """Largest whole number below ``population * chance / alpha``, at most the population.

    Args:
        population: Pixels, counted with their weights.
        chance: Probability with which each is a wrong certificate, at most.
        alpha: Probability of more of them, at most.
    """
    # Exact division: rounding at a whole number would be off by one pixel.
    ratio = Fraction(int(population)) * Fraction(float(chance)) / Fraction(float(alpha))
    return min(int(population), max(0, math.ceil(ratio) - 1))


def wrong_certificates(tested: int, n: int, tau: float, alpha: float, k: int) -> int:
    """Number of wrong certificates that is exceeded with probability at most alpha.

    A pixel whose hit probability is at most tau has k hits with probability at most
    q = P(Bin(n, tau) >= k). So at most ``tested * q`` wrong ones are expected and, by Markov, there
    are ``tested * q / alpha`` or more with probability at most alpha, however pixels depend.

    Args:
        tested: Number of pixels tested; their choice must not depend on the hits.
        n: Number of draws of the second stage.
        tau: Probability claimed, in [0.5, 1).
        alpha: Probability that the statement fails, in (0, 1).
        k: Hits that certify a pixel, fixed before the second stage; ``n + 1`` certifies none.

    Raises:
        ValueError: If an argument is out of range.
    """
    table = p_value_table(n, tau)
    if not 0 <= k <= n + 1:
        raise ValueError(f"k must be in [0, {n + 1}], got {k}")
    if tested < 0:
        raise ValueError(f"tested must be >= 0, got {tested}")
    check_alpha(alpha)
    if k == n + 1 or tested == 0:
        return 0
    return markov_count(tested, table[k], alpha)


def metric_level_bound(
    hits_ok_histogram: Tensor | np.ndarray,
    tested: int,
    n: int,
    tau: float,
    alpha: float,
    k: int,
) -> int:
    """Guaranteed number of robust pixels among those that fit and have at least k hits.

    Args:
        hits_ok_histogram: Fitting (say, correctly selected) pixels with 0, ..., n hits.
        tested: Number of pixels tested, fitting or not.
        n: Number of draws of the second stage.
        tau: Probability claimed, in [0.5, 1).
        alpha: Probability that the bound is too high, in (0, 1).
        k: Hits that certify a pixel, fixed before the second stage.

    Returns:
        A bound that holds with probability >= 1 - alpha under any dependence of the pixels.

    Raises:
        ValueError: If an argument is out of range, or more pixels fit than were tested.
    """
    counts = histogram_array(hits_ok_histogram, n, "hits_ok_histogram")
    if counts.sum() > tested:
        raise ValueError(f"hits_ok_histogram holds {counts.sum()} pixels, tested are {tested}")
    wrong = wrong_certificates(tested, n, tau, alpha, k)
    return max(0, int(counts[k:].sum()) - wrong)


def metric_level_k(n: int, tau: float, alpha: float, tolerance: float = TOLERANCE) -> int:
    """Smallest number of hits for which wrong certificates are at most a share of the pixels.

    It depends on nothing that was drawn, so it is fixed before looking and costs no alpha.

    Args:
        n: Number of draws of the second stage.
        tau: Probability claimed, in [0.5, 1).
        alpha: Probability that the statement fails, in (0, 1).
        tolerance: Share of the tested pixels allowed, in (0, 1).

    Returns:
        In 0, ..., n, or ``n + 1`` when n is too small for the tolerance.

    Raises:
        ValueError: If an argument is out of range.
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must be in (0, 1), got {tolerance}")
    return int((p_value_table(n, tau) > check_alpha(alpha) * tolerance).sum())


def required_metric_draws(tau: float, alpha: float, tolerance: float = TOLERANCE) -> int:
    """Smallest number of draws with which a metric can be certified within the tolerance.

    Args:
        tau: Probability claimed, in [0.5, 1).
        alpha: Probability that the statement fails, in (0, 1).
        tolerance: Share of the tested pixels allowed, in (0, 1).

    Raises:
        ValueError: If an argument is out of range.
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must be in (0, 1), got {tolerance}")
    # With all draws hits the chance of a wrong certificate is tau^n.
    return draws_for_level(check_alpha(alpha) * tolerance, tau)
