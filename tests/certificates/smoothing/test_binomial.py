from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from mmseg_lipcert.certificates.smoothing.binomial import (
    MAX_DRAWS,
    clopper_pearson_radii,
    draws_for_level,
    p_value_table,
    required_draws,
    smoothing_radius,
)

#: P(Bin(10^6, 3/4) >= 753000) and >= 754000, summed with 60 digits.
TAILS = (2.0146686655788123e-12, 1.0932922375269428e-20)


@given(st.integers(1, 40), st.sampled_from([Fraction(1, 2), Fraction(3, 4), Fraction(15, 16)]))
def test_table_equals_exact_sums_and_is_never_below(n, tau):
    terms = [comb(n, h) * tau**h * (1 - tau) ** (n - h) for h in range(n + 1)]
    exact = [sum(terms[h:]) for h in range(n + 1)]
    table = [Fraction(value) for value in p_value_table(n, float(tau)).tolist()]
    for value, true in zip(table, exact, strict=True):
        assert true <= value <= true * (1 + Fraction(3, 10**11))


def test_tail_of_a_million_draws():
    table = p_value_table(10**6, 0.75)
    for hits, exact in zip((753000, 754000), TAILS, strict=True):
        assert exact <= table[hits] <= exact * (1 + 2e-11)


@pytest.mark.parametrize("tau, draws", [(0.6, 43), (0.75, 75), (0.9, 204), (0.95, 419)])
def test_floor_of_two_megapixels(tau, draws):
    assert required_draws(2097152, tau, 0.001) == draws
    assert p_value_table(draws, tau)[-1] <= 0.001 / 2097152 < p_value_table(draws - 1, tau)[-1]


@given(st.floats(0.5, 0.999), st.floats(1e-9, 0.5))
def test_floor_is_where_the_table_passes(tau, level):
    draws = draws_for_level(level, tau)
    assert p_value_table(draws, tau)[-1] <= level
    assert draws == 1 or p_value_table(draws - 1, tau)[-1] > level


@pytest.mark.parametrize("tau", [0.99999999, 1 - 2**-53])
def test_floor_beyond_any_table_is_a_number_too(tau):
    draws = required_draws(172_800, tau, 0.001)
    assert draws == pytest.approx(np.log(0.001 / 172_800) / np.log(tau), rel=1e-9)
    assert draws > MAX_DRAWS


def test_floor_with_k_allowed_errors_and_more_of_them_than_pixels():
    assert required_draws(1000, 0.75, 0.001, k=10) == required_draws(100, 0.75, 0.001)
    assert required_draws(10, 0.75, 0.5, k=100) == required_draws(1, 0.75, 0.5)


@pytest.mark.parametrize(
    "sigma, tau, radius", [(0.25, 0.75, 0.168622), (0.5, 0.75, 0.337245), (1.0, 0.5, 0.0)]
)
def test_radius(sigma, tau, radius):
    assert smoothing_radius(sigma, tau) == pytest.approx(radius, abs=1e-6)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: p_value_table(0, 0.75), "n must be an integer from 1 to 1000000, got 0"),
        (lambda: p_value_table(2**64, 0.75), "n must be .* got 18446744073709551616"),
        (lambda: p_value_table(1.5, 0.75), "n must be .* got 1.5"),
        (lambda: p_value_table(9, 0.4), "tau must be in .* got 0.4"),
        (lambda: required_draws(0, 0.75, 0.1), "got 0"),
        (lambda: required_draws(9, 0.75, 1.0), "alpha must be in .* got 1.0"),
        (lambda: smoothing_radius(-1.0, 0.75), "sigma must be .* got -1.0"),
        (lambda: smoothing_radius(1.0, 1.0), "tau must be in .* got 1.0"),
    ],
)
def test_bad_values_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


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
        (100_000, 1e-290, 10**6),
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
