"""False alarms: how many objects of a class can be invented where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from .budget import prefix_sums, radius_of
from .pixel_maps import PixelMaps, shared_prices

_NEIGHBORS = np.ones((3, 3))


class FalseAlarms(NamedTuple):
    """Objects of a class where none is labeled, in one image.

    Attributes:
        alarms: How many there are without attack.
        invented: Per budget, how many more there can be at most.
        radius: Norm below which there are no more.
    """

    alarms: int
    invented: list[int]
    radius: float


def alarm_zone(
    labels: np.ndarray, class_index: int, distance: int, ignore_index: int = 255
) -> np.ndarray:
    """Where an object of a class is a false alarm.

    Args:
        labels: ``(H, W)``.
        class_index: The class.
        distance: Pixels around its labels, diagonals counted as one, that are no false alarm.
        ignore_index: Label of the pixels that never count.

    Returns:
        Boolean ``(H, W)``: valid pixels farther than ``distance`` from every label of the class.
    """
    labeled = labels == class_index
    zone = (labels != ignore_index) & ~labeled
    if labeled.any() and distance > 0:
        zone &= ndimage.distance_transform_cdt(~labeled, metric="chessboard") > distance
    return zone


def alarm_map(found: np.ndarray, pixels: int) -> tuple[np.ndarray, int]:
    """The false alarms among the pixels of a zone that are predicted as its class.

    Args:
        found: Boolean ``(H, W)``.
        pixels: Smaller components are no object.

    Returns:
        Boolean ``(H, W)``: the 8-connected components of at least ``pixels`` pixels, and their
        number.
    """
    numbers, _ = ndimage.label(found, structure=_NEIGHBORS)
    large = np.bincount(numbers.ravel()) >= pixels
    large[0] = False
    return large[numbers], int(large.sum())


def false_alarms(
    maps: PixelMaps,
    class_index: int,
    budgets: Sequence[float],
    lipschitz: float,
    *,
    pixels: int,
    distance: int,
    ignore_index: int = 255,
) -> FalseAlarms:
    r"""Bound the objects of a class that a perturbation can invent.

    An object is an 8-connected component, of at least k pixels, of what is predicted as the class
    within ``alarm_zone``. It is invented if no pixel of it belongs to a false alarm that was there
    without attack. Let n objects be invented by turning the pixels E of the zone into the class,
    and let S be the pixels of the components that were there but too small to be objects. The
    objects are disjoint and consist of pixels of E and S, and none lies in S alone, hence
    :math:`n \le |E|` and :math:`n k \le |E| + |S|`: with the cheapest :math:`\max(n, n k - |S|)`
    pixels beyond the budget, fewer than n are invented. Nothing is gained by pixels that are
    given up. That an object must be connected is not used.

    Args:
        maps: The image.
        class_index: The class.
        budgets: Squared budgets.
        lipschitz: Joint Lipschitz bound.
        pixels: k.
        distance: Of ``alarm_zone``.
        ignore_index: Label of the pixels that never count.
    """
    zone = alarm_zone(maps.labels, class_index, distance, ignore_index)
    found = zone & (maps.prediction == class_index)
    alarm, alarms = alarm_map(found, pixels)
    specks = int((found & ~alarm).sum())
    free = zone & ~found
    prices = shared_prices(maps.entry(class_index)[free], maps.cell[free])
    spent = prefix_sums(np.sort(prices[np.isfinite(prices)]))
    entered = np.searchsorted(spent, budgets, side="right") - 1
    first = max(1, pixels - specks)
    return FalseAlarms(
        alarms=alarms,
        invented=[min(n, (n + specks) // pixels) if n > 0 else 0 for n in entered.tolist()],
        radius=radius_of(spent[first] if first < len(spent) else np.inf, lipschitz),
    )
