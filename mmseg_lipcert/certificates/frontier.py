"""What an attacker can do to one class on one image: pairs (true positives lost, positives made).

With A(a) and B(b) the squared costs of the a cheapest true positives and the b cheapest true
negatives, the attainable pairs satisfy A(a) + B(b) <= budget. IoU and Dice fall with a and with b,
so only the maximal pairs matter: the frontier. They are also minimised in directions in which a
lost true positive weighs at least as much as a made false positive, on a vertex of the frontier's
concave hull: that short chain is all that a dataset figure needs of an image.
"""

import numpy as np

from .attack_group import EMPTY_GROUP, AttackGroup

# Outward-pruned vertices are rounded up to this grid, on which float64 sums are exact.
_GRID = 16


def attack_frontier(
    breakable: AttackGroup, makeable: AttackGroup, budget: float
) -> tuple[np.ndarray, np.ndarray]:
    """Maximal pairs (a, b) that a squared budget allows.

    Exact when both groups are uniform. Otherwise both are relaxed fractionally, the attainable
    pairs form a convex polygon, and its vertices are returned: those at which a or b is a whole
    number of items.

    Args:
        breakable: True positives.
        makeable: True negatives.
        budget: Squared budget; nothing is attainable but (0, 0) when it is negative.

    Returns:
        Image pixels a, ascending, and b, descending, each ``(n,)``.
    """
    breakable = breakable if breakable.cheapest <= budget else EMPTY_GROUP
    makeable = makeable if makeable.cheapest <= budget else EMPTY_GROUP
    whole = breakable.affordable(budget)
    lost = breakable.gained[: whole + 1]
    rest = budget - breakable.spent[: whole + 1]
    if breakable.uniform and makeable.uniform:
        return lost, makeable.gain(rest)
    made = makeable.gained[: makeable.affordable(budget) + 1]
    rest_made = budget - makeable.spent[: len(made)]
    lost = np.concatenate((lost, breakable.fractional_gain(rest_made)))
    made = np.concatenate((makeable.fractional_gain(rest), made))
    order = np.lexsort((-made, lost))
    return lost[order], made[order]


def frontier_hull(lost: np.ndarray, made: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices that maximise ``a + t b`` over a frontier for some t in [0, 1].

    Points on or below the segment between their neighbours are dropped, all at once, until none
    is left: a point below a segment of other points is never a vertex, so no pass drops one.

    Args:
        lost: ``(n,)`` a, ascending.
        made: ``(n,)`` b, descending.

    Returns:
        a and b of the vertices, from t = 1 to t = 0.
    """
    total = lost + made
    first = len(total) - 1 - int(np.argmax(total[::-1]))
    lost, made = lost[first:], made[first:]
    while len(lost) > 2:
        to_next_a, to_next_b = np.diff(lost), np.diff(made)
        turn = to_next_a[:-1] * to_next_b[1:] - to_next_b[:-1] * to_next_a[1:]
        keep = np.concatenate(([True], turn < 0, [True]))
        if keep.all():
            break
        lost, made = lost[keep], made[keep]
    return lost, made


def prune_outward(
    lost: np.ndarray, made: np.ndarray, max_vertices: int
) -> tuple[np.ndarray, np.ndarray]:
    """Enclose a hull in one of at most ``max_vertices`` vertices.

    A subset of the hull's edges is extended until they meet. The new hull contains the old one,
    so every minimum over it is a lower bound. Edges are taken evenly along the chain, whose
    vertices are dense where it bends: with V vertices the attack is too large by a share of about
    1 / V**2 (measured on random costs: 0.1 to 2 / V**2).

    Args:
        lost: ``(n,)`` a of ``frontier_hull``.
        made: ``(n,)`` b of it.
        max_vertices: At least 2.

    Returns:
        a and b, unchanged when there are few enough, else rounded up to sixteenths of a pixel.
    """
    if len(lost) <= max_vertices:
        return lost, made
    edges = np.unique(np.linspace(0, len(lost) - 2, max_vertices - 1).round().astype(int))
    slope = -np.diff(lost)[edges] / np.diff(made)[edges]
    # Supporting lines a + t b = h: t = 1 at the first vertex, the chosen edges, t = 0 at the last.
    slope = np.concatenate(([1.0], slope, [0.0]))
    touch = np.concatenate(([0], edges, [len(lost) - 1]))
    height = lost[touch] + slope * made[touch]
    distinct = np.concatenate((np.diff(slope) < 0, [True]))
    slope, height = slope[distinct], height[distinct]
    new_made = np.diff(height) / np.diff(slope)
    new_lost = height[:-1] - slope[:-1] * new_made
    new_lost = np.minimum(np.ceil(new_lost * _GRID) / _GRID, lost[-1])
    return new_lost, np.ceil(new_made * _GRID) / _GRID
