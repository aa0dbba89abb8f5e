import numpy as np
import pytest
from scipy.stats import binom, norm

from mmseg_lipcert.certificates.radius_table import clopper_pearson_radii


def test_radius_is_the_largest_whose_probability_is_rejected():
    radii = clopper_pearson_radii(100, 0.25, 0.01, 1000)
    for hits in range(101):
        proven = norm.cdf(radii[hits] / 0.25)
        if radii[hits] > 0:
            assert binom.sf(hits - 1, 100, proven) == pytest.approx(1e-5, rel=1e-6)
        else:
            assert binom.sf(hits - 1, 100, 0.5) >= 1e-5
    assert (np.diff(radii) >= 0).all() and radii[100] > 0


def test_all_hits_have_a_closed_form():
    radius = clopper_pearson_radii(75, 0.5, 0.001, 640)[-1]
    assert radius == pytest.approx(0.5 * norm.ppf((0.001 / 640) ** (1 / 75)))


@pytest.mark.parametrize(
    ("n", "alpha", "tested"),
    [
        (100, 1e-3, 172_800),
        (10_000, 1e-250, 10**6),
        (100_000, 1e-300, 10**6),
        (10**6, 1e-12, 10**6),
    ],
)
def test_no_bound_exceeds_its_level_even_where_scipy_gives_up(n, alpha, tested):
    radii = clopper_pearson_radii(n, 0.25, alpha, tested)
    proven = np.flatnonzero(radii)
    assert len(proven) > n // 100
    chosen = np.unique(np.concatenate([proven[:: max(1, len(proven) // 2000)], proven[-50:]]))
    lower = norm.cdf(radii[chosen] / 0.25)
    # What rounding a radius back into a probability may change.
    assert (binom.logsf(chosen - 1, n, lower * (1 - 1e-12)) <= np.log(alpha / tested) + 1e-6).all()
