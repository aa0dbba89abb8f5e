import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmseg_lipcert.certificates.attack_group import AttackGroup
from mmseg_lipcert.certificates.frontier import attack_frontier, frontier_hull, prune_outward


def random_group(seed, size, weighted=False):
    generator = np.random.default_rng(seed)
    profits = generator.integers(1, 6, size).astype(float) if weighted else 1.0
    return AttackGroup(generator.random(size) ** 2, profits)


seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(0, 300)


@given(seeds, sizes, sizes, st.floats(0.0, 20.0))
def test_frontier_lists_every_maximal_pair(seed, m, n, budget):
    first, second = random_group(seed, m), random_group(seed + 1, n)
    lost, made = attack_frontier(first, second, budget)
    assert (np.diff(lost) == 1).all() and lost[0] == 0
    for a, b in zip(lost.astype(int), made.astype(int), strict=True):
        assert first.spent[a] + second.spent[b] <= budget
        assert b == n or first.spent[a] + second.spent[b + 1] > budget
    assert len(lost) == m + 1 or first.spent[len(lost)] > budget


@given(seeds, sizes, sizes, st.floats(0.0, 20.0))
def test_weighted_frontier_encloses_whole_items(seed, m, n, budget):
    first, second = random_group(seed, m, True), random_group(seed + 1, n, True)
    lost, made = attack_frontier(first, second, budget)
    directions = np.linspace(0, 1, 11)[:, None]
    support = (lost + directions * made).max(1)
    for a in range(m + 1):
        if first.spent[a] > budget:
            break
        b = second.affordable(budget - first.spent[a])
        inside = first.gained[a] + directions[:, 0] * second.gained[b]
        assert (inside <= support + 1e-9).all()


@given(seeds, sizes, sizes, st.floats(0.0, 20.0), st.booleans())
def test_hull_keeps_the_best_point_of_every_direction(seed, m, n, budget, weighted):
    first, second = random_group(seed, m, weighted), random_group(seed + 1, n, weighted)
    lost, made = attack_frontier(first, second, budget)
    corner_lost, corner_made = frontier_hull(lost, made)
    directions = np.linspace(0, 1, 101)[:, None]
    full = (lost + directions * made).max(1)
    kept = (corner_lost + directions * corner_made).max(1)
    np.testing.assert_allclose(kept, full, rtol=1e-12, atol=1e-9)
    # Strictly convex: no vertex is spare.
    slopes = np.diff(corner_made[:-1]) / np.maximum(np.diff(corner_lost[:-1]), 1e-300)
    assert (np.diff(slopes) < 0).all()


@given(seeds, st.integers(50, 3000), st.integers(2, 12))
def test_pruned_hull_encloses_the_hull_tightly(seed, size, vertices):
    first, second = random_group(seed, size), random_group(seed + 1, size)
    hull = frontier_hull(*attack_frontier(first, second, size / 20))
    lost, made = prune_outward(*hull, vertices)
    assert len(lost) <= max(vertices, 2)
    directions = np.linspace(0, 1, 101)[:, None]
    exact = (hull[0] + directions * hull[1]).max(1)
    outer = (lost + directions * made).max(1)
    assert (outer >= exact - 1e-9).all()
    # Rounding adds at most a sixteenth to each coordinate; the shape shrinks with V squared.
    assert (outer <= exact * (1 + 3 / vertices**2) + 1 / 8 + 1).all()
    assert (lost <= hull[0][-1]).all()
    assert (lost * 16 == np.round(lost * 16)).all() and (made * 16 == np.round(made * 16)).all()


def test_large_frontiers_are_reduced_quickly_to_few_vertices():
    first, second = random_group(0, 1_000_000), random_group(1, 1_000_000)
    lost, made = frontier_hull(*attack_frontier(first, second, 1e4))
    assert 32 < len(lost) < 3000
