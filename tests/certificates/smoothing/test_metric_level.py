import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmseg_lipcert.certificates.smoothing.binomial import p_value_table
from mmseg_lipcert.certificates.smoothing.metric_level import (
    TOLERANCE,
    metric_level_bound,
    metric_level_k,
    required_metric_draws,
    wrong_certificates,
)


@given(st.integers(1, 10**6), st.integers(1, 60), st.sampled_from([0.5, 0.75, 0.9]), st.data())
def test_as_many_wrong_as_markov_cannot_exclude(tested, n, tau, data):
    k = data.draw(st.integers(0, n))
    wrong = wrong_certificates(tested, n, tau, 0.01, k)
    expected = tested * p_value_table(n, tau)[k]
    # One more would have probability at most alpha; that many would not.
    assert wrong == tested or expected <= 0.01 * (wrong + 1) * (1 + 1e-12)
    assert wrong == 0 or expected > 0.01 * wrong * (1 - 1e-12)


def test_comonotone_pixels_reach_markovs_bound():
    # All 4 pixels share one draw with probability 1/2: all are wrong half of the time.
    assert wrong_certificates(4, 1, 0.5, 0.5001, 1) == 3
    assert wrong_certificates(4, 1, 0.5, 0.4999, 1) == 4


def test_bound_counts_only_pixels_with_enough_hits():
    counts = np.array([7, 0, 0, 0, 10, 20])
    wrong = wrong_certificates(100, 5, 0.5, 0.5, 4)
    assert wrong == 37  # 100 * 6/32 / 0.5 = 37.5
    assert metric_level_bound(counts, 100, 5, 0.5, 0.5, 4) == 0
    assert metric_level_bound(counts, 100, 5, 0.5, 0.5, 5) == 20 - 6  # 100 / 32 / 0.5 = 6.25
    assert metric_level_bound(counts, 100, 5, 0.5, 0.5, 6) == 0
    assert wrong_certificates(100, 5, 0.5, 0.5, 6) == 0


def test_fixed_number_of_hits_keeps_the_tolerance():
    k = metric_level_k(100, 0.75, 0.001)
    table = p_value_table(100, 0.75)
    assert table[k] <= 0.001 * TOLERANCE < table[k - 1]
    assert wrong_certificates(10**6, 100, 0.75, 0.001, k) < 10**6 * TOLERANCE
    assert metric_level_k(20, 0.75, 0.001) == 21


def test_fewest_draws_within_the_tolerance():
    n = required_metric_draws(0.75, 0.001)
    assert metric_level_k(n, 0.75, 0.001) == n
    assert metric_level_k(n - 1, 0.75, 0.001) == n
    assert required_metric_draws(0.5, 0.9, 0.9) == 1


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: wrong_certificates(-1, 5, 0.5, 0.1, 3), "tested must be >= 0, got -1"),
        (lambda: wrong_certificates(9, 5, 0.5, 0.1, 7), r"k must be in \[0, 6\], got 7"),
        (lambda: metric_level_k(5, 0.5, 0.1, 0.0), "tolerance must be in .* got 0.0"),
        (lambda: required_metric_draws(0.5, 0.1, 1.0), "tolerance must be in .* got 1.0"),
        (lambda: metric_level_bound(np.ones(6), 5, 5, 0.5, 0.1, 3), "6.* pixels, tested are 5"),
    ],
)
def test_bad_values_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
