import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from mmseg_lipcert.certificates.smoothing.corrections import holm_threshold


def sorted_reference(hits: list[int], n: int, tau: float, alpha: float, correction: str, k: int):
    """Certified pixels, from p-values sorted one by one, as the papers write the procedures."""
    total = len(hits)
    # Equal p-values may be sorted either way; the result must not depend on it.
    order = sorted(range(total), key=lambda j: -hits[j])
    certified = set()
    for i, j in enumerate(order, start=1):
        p = binom.sf(hits[j] - 1, n, tau)
        if correction == "bonferroni":
            level = alpha / total
        elif correction == "holm":
            level = alpha / (total - i + 1)
        else:
            m = min(k, total)
            level = m * alpha / total if i <= m else m * alpha / (total + m - i)
        if p > level:
            if correction != "bonferroni":
                break
            continue
        certified.add(j)
    return certified


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n), min_size=1, max_size=60))
    ),
    st.sampled_from([0.5, 0.6, 0.75]),
    st.sampled_from([0.001, 0.1, 0.5]),
    st.sampled_from([("holm", 1), ("bonferroni", 1), ("k-fwer", 1), ("k-fwer", 3), ("k-fwer", 50)]),
)
def test_threshold_certifies_what_the_sorted_procedure_does(drawn, tau, alpha, correction):
    n, hits = drawn
    histogram = torch.bincount(torch.tensor(hits), minlength=n + 1)
    threshold = holm_threshold(histogram, n, tau, alpha, *correction)
    expected = sorted_reference(hits, n, tau, alpha, *correction)
    assert {j for j, h in enumerate(hits) if h >= threshold} == expected
    assert threshold in hits or threshold == n + 1


def test_holm_certifies_more_than_bonferroni():
    # P(Bin(10, 0.5) >= 9) = 0.0107 > 0.1 / 10, but 8 of 10 pixels are out of the way before it.
    histogram = np.zeros(11, dtype=np.int64)
    histogram[[10, 9]] = 8, 2
    assert holm_threshold(histogram, 10, 0.5, 0.1) == 9
    assert holm_threshold(histogram, 10, 0.5, 0.1, "bonferroni") == 10


def test_tied_pixels_are_tested_at_their_first_rank():
    # Each has p = 1/16: below alpha / 1, the level of the last rank, but above alpha / 10.
    histogram = np.array([0, 0, 0, 0, 10])
    assert holm_threshold(histogram, 4, 0.5, 0.1) == 5
    assert holm_threshold(histogram, 4, 0.5, 0.626) == 4
    # Two wrong certificates are allowed: level 3 alpha / 10 for the first three.
    assert holm_threshold(histogram, 4, 0.5, 0.21, "k-fwer", 3) == 4
    assert holm_threshold(histogram, 4, 0.5, 0.2, "k-fwer", 3) == 5


def test_no_pixel_certifies_none():
    assert holm_threshold(np.zeros(6, dtype=np.int64), 5, 0.75, 0.1) == 6


@pytest.mark.parametrize(
    "change, message",
    [
        ({"correction": "none"}, "correction must be one of .* got 'none'"),
        ({"k": 2}, "k must be 1, .* got 2"),
        ({"n": 7}, "must have shape .8,., got"),
        ({"alpha": 0.0}, "alpha must be in .* got 0.0"),
        ({"hits_histogram": np.array([1, -1, 0])}, "not be negative, got -1"),
    ],
)
def test_bad_values_are_named(change, message):
    given_values = {"hits_histogram": np.array([1, 1, 5]), "n": 2, "tau": 0.75, "alpha": 0.1}
    with pytest.raises(ValueError, match=message):
        holm_threshold(**{**given_values, **change})
