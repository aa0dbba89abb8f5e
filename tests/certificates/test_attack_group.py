import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmseg_lipcert.certificates.attack_group import EMPTY_GROUP, AttackGroup
from mmseg_lipcert.certificates.budget import prefix_sums, radius_of, squared_budget

costs = st.lists(st.integers(0, 20), min_size=1, max_size=10)


def exact_gain(costs, profits, budget):
    """0/1 knapsack by trying every subset."""
    picks = np.array(list(itertools.product([0, 1], repeat=len(costs))))
    return (picks @ profits)[picks @ costs <= budget].max(initial=0)


@given(costs, st.integers(0, 60))
def test_equal_profits_are_exact(costs, budget):
    group = AttackGroup(np.array(costs, dtype=float), 4.0)
    assert group.gain(budget) == exact_gain(np.array(costs), np.full(len(costs), 4.0), budget)


@given(costs, st.data(), st.integers(0, 60))
def test_relaxation_is_above_the_exact_knapsack_by_less_than_one_item(costs, data, budget):
    profits = np.array(
        data.draw(st.lists(st.integers(1, 9), min_size=len(costs), max_size=len(costs))),
        dtype=float,
    )
    group = AttackGroup(np.array(costs, dtype=float), profits)
    exact = exact_gain(np.array(costs), profits, budget)
    assert exact <= group.gain(budget) + 1e-9
    assert group.gain(budget) < exact + profits.max()
    if budget < min(costs):
        assert group.gain(budget) == 0


@given(costs, st.data())
def test_cost_is_the_inverse_of_gain(costs, data):
    profits = np.array(
        data.draw(st.lists(st.integers(1, 9), min_size=len(costs), max_size=len(costs))),
        dtype=float,
    )
    group = AttackGroup(np.array(costs, dtype=float), profits)
    gain = data.draw(st.floats(0.0, float(profits.sum())))
    cost = group.fractional_cost(gain)
    assert group.fractional_gain(cost) >= gain - 1e-9
    if cost > 0:
        assert group.fractional_gain(cost * (1 - 1e-6)) <= gain + 1e-9
    assert group.fractional_cost(profits.sum() + 1) == math.inf


def test_negative_budget_takes_not_even_what_is_free():
    free = np.zeros(3)
    assert AttackGroup(free, 1.0).gain(-1.0) == 0
    assert AttackGroup(free, 1.0).gain(0.0) == 3
    profits = np.array([1.0, 2.0, 3.0])
    assert AttackGroup(free, profits).gain(-1.0) == 0
    assert AttackGroup(free, profits).gain(0.0) == 6


def test_empty_group_gains_nothing():
    assert EMPTY_GROUP.gain(1e300) == 0
    assert EMPTY_GROUP.cheapest == math.inf


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 5000])
def test_prefix_sums_are_sums_of_prefixes(size):
    values = np.random.default_rng(0).random(size)
    found = prefix_sums(values)
    expected = [math.fsum(values[:k]) for k in range(size + 1)]
    assert found == pytest.approx(expected, rel=1e-14)


def test_prefix_sums_of_millions_keep_twelve_digits():
    values = np.full(4_000_000, 0.1)
    assert prefix_sums(values)[-1] == pytest.approx(math.fsum(values), rel=1e-12)


@given(st.floats(1e-6, 1e6), st.floats(1e-3, 1e3))
def test_radius_and_budget_are_inverse(eps, lipschitz):
    assert radius_of(squared_budget(eps, lipschitz), lipschitz) == pytest.approx(eps, rel=1e-14)


def test_zero_eps_has_no_budget_at_all():
    assert squared_budget(0.0, 5.0) < 0
    assert squared_budget(1e200, 1e200) == math.inf


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=30, unique=True))
def test_everything_can_be_gained_from_fractional_profits(profits):
    group = AttackGroup(np.arange(len(profits), dtype=float), np.array(profits))
    total = math.fsum(profits)
    assert group.gained[-1] >= total
    assert group.fractional_cost(total) <= group.spent[-1] < math.inf
