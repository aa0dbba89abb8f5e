"""Where an object of a class is invented most cheaply."""

from __future__ import annotations

import heapq
import itertools
import math

import numpy as np
from scipy import ndimage

from ..certificates.objects import alarm_map, alarm_zone


def invention_site(
    lacking: np.ndarray,
    labels: np.ndarray,
    class_index: int,
    pixels: int,
    distance: int,
    ignore_index: int = 255,
) -> np.ndarray:
    """Choose a connected set of pixels whose change invents an object.

    It grows from the middle of the cheapest square, always by the cheapest pixel around it.

    Args:
        lacking: What every pixel (H, W) lacks to be predicted as the class; at most 0 where it is.
        labels: (H, W).
        class_index: The class.
        pixels: Pixels of an object.
        distance: Pixels around the labels of the class that are no false alarm of it.
        ignore_index: Label of the pixels that never count. Defaults to 255.

    Returns:
        Boolean (H, W): 8-connected pixels that are far from the class and do not touch a false
        alarm that is there already; fewer than ``pixels`` if there is no room.
    """
    zone = alarm_zone(labels, class_index, distance, ignore_index)
    alarm, _ = alarm_map(zone & (lacking <= 0), pixels)
    free = zone & ~ndimage.binary_dilation(alarm, structure=np.ones((3, 3)))
    site = np.zeros(zone.shape, dtype=bool)
    # What is not free costs more than all that is.
    costs = np.where(free, np.maximum(lacking, 0), 1 + np.abs(lacking).sum())
    side = min(math.ceil(math.sqrt(pixels)), *zone.shape)
    around = ndimage.uniform_filter(costs.astype(np.float64), side, mode="nearest")
    start = np.unravel_index(np.where(free, around, np.inf).argmin(), zone.shape)
    if not free.any():
        return site
    first = (int(start[0]), int(start[1]))
    heap: list[tuple[float, int, int]] = [(0.0, *first)]
    seen = {first}
    for _ in range(pixels):
        if not heap:
            break
        _, row, column = heapq.heappop(heap)
        site[row, column] = True
        for step in itertools.product((-1, 0, 1), repeat=2):
            near = (row + step[0], column + step[1])
            inside = 0 <= near[0] < zone.shape[0] and 0 <= near[1] < zone.shape[1]
            if inside and near not in seen and free[near]:
                seen.add(near)
                heapq.heappush(heap, (float(costs[near]), *near))
    return site
