"""Certificates of many pixels at once: which numbers of hits are enough."""

import numpy as np
from torch import Tensor

from .binomial import check_alpha, p_value_table

#: Corrections under which single pixels are certified, all together with one alpha.
PIXEL_CORRECTIONS = ("holm", "bonferroni", "k-fwer")


def histogram_array(histogram: Tensor | np.ndarray, n: int, name: str) -> np.ndarray:
    """Return counts of pixels per number of hits as int64, shape (n + 1,).

    Raises:
        ValueError: On another shape or a negative count.
    """
    counts = np.asarray(histogram)
    if counts.shape != (n + 1,):
        raise ValueError(f"{name} must have shape ({n + 1},), got {counts.shape}")
    if (counts < 0).any():
        raise ValueError(f"{name} must not be negative, got {counts.min()}")
    return counts.astype(np.int64)


def step_down_level(rank: np.ndarray, tested: int, alpha: float, k: int) -> np.ndarray:
    """Level at which the p-value of a rank (1 the smallest) is rejected.

    Holm for k = 1: alpha / (tested - rank + 1). Source: Lehmann and Romano, "Generalizations of the
    Familywise Error Rate", Annals of Statistics 2005, theorem 2.2.
    """
    return k * alpha / (tested + k - np.maximum(rank, k))


def holm_threshold(
    hits_histogram: Tensor | np.ndarray,
    n: int,
    tau: float,
    alpha: float,
    correction: str = "holm",
    k: int = 1,
) -> int:
    """Smallest number of hits with which a pixel is certified, from the histogram of the hits.

    With probability >= 1 - alpha no certified pixel is wrong (``"holm"``, ``"bonferroni"``) or
    fewer than k are (``"k-fwer"``), under any dependence of the pixels.

    Levels rise with the rank, so within a group of equal p-values the first rank is the hardest:
    if it is rejected so is the whole group. A step-down stops at a group's first rank or not within
    it, and the threshold is exact. (k-FWER: the first k ranks share one level.)

    Args:
        hits_histogram: Pixels with 0, ..., n hits; all tested pixels, shape (n + 1,).
        n: Number of draws of the second stage.
        tau: Probability claimed, in [0.5, 1).
        alpha: Probability that the statement fails, in (0, 1).
        correction: ``"holm"``, ``"bonferroni"`` or ``"k-fwer"``.
        k: Number of wrong certificates that must not be reached; 1 unless ``"k-fwer"``.

    Returns:
        The threshold, ``n + 1`` if no pixel is certified.

    Raises:
        ValueError: If an argument is out of range.
    """
    if correction not in PIXEL_CORRECTIONS:
        raise ValueError(f"correction must be one of {PIXEL_CORRECTIONS}, got {correction!r}")
    if k < 1 or (k > 1 and correction != "k-fwer"):
        raise ValueError(f"k must be 1, or >= 1 with correction='k-fwer', got {k}")
    counts = histogram_array(hits_histogram, n, "hits_histogram")
    p_values, alpha, tested = p_value_table(n, tau), check_alpha(alpha), int(counts.sum())
    if tested == 0:
        return n + 1
    # With fewer than k pixels k of them cannot be wrong; k caps at their number.
    k = min(k, tested)
    if correction == "bonferroni":
        passed = p_values <= alpha / tested
    else:
        # Rank of the first pixel of every group: one more than the pixels with more hits.
        first = np.minimum(counts[::-1].cumsum()[::-1] - counts + 1, tested)
        passed = p_values <= step_down_level(first, tested, alpha, k)
        # A group without pixel stops nothing.
        passed |= counts == 0
    stopped = np.flatnonzero(~passed)
    threshold = int(stopped[-1]) + 1 if len(stopped) else 0
    held = np.flatnonzero(counts[threshold:])
    return threshold + int(held[0]) if len(held) else n + 1
