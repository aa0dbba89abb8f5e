import numpy as np
from scipy.stats import beta, binom, norm

from .binomial import check_alpha, check_draws, smoothing_radius

# More than SciPy's relative error of a Clopper-Pearson bound.
_BOUND_ERROR = 1e-11


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
