"""Boxes: of labeled objects, how they overlap, and how far the sides of one can move."""

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np
from scipy import ndimage

from .regions import region_numbers

# Squared norm that the steps of a cover share out: more of them, and it fits more tightly.
_PARTS = 6


def label_boxes(
    labels: np.ndarray, classes: Sequence[int], min_pixels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes around the 8-connected components of some classes.

    Args:
        labels: Label map (H, W).
        classes: Labels of the K classes of objects.
        min_pixels: Components with fewer pixels are no objects.

    Returns:
        Per object its class, from 0 to K - 1 (n,), and its box (n, 4): left, top, right and bottom
        edge in pixels; and the map (H, W) of the numbers of the objects from 1, 0 outside.
    """
    numbers, owners = region_numbers(labels, classes, min_pixels)
    found = ndimage.find_objects(numbers)
    boxes = [(box[1].start, box[0].start, box[1].stop, box[0].stop) for box in found]
    kinds = np.array([list(classes).index(owner) for owner in owners], dtype=np.int64)
    return kinds, np.array(boxes, dtype=np.float64).reshape(-1, 4), numbers


def areas(boxes: np.ndarray) -> np.ndarray:
    """Areas (...) of boxes (..., 4)."""
    return (boxes[..., 2:] - boxes[..., :2]).clip(min=0).prod(-1)


def intersections(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Areas (...) that boxes (..., 4) have in common."""
    low = np.maximum(first[..., :2], second[..., :2])
    return (np.minimum(first[..., 2:], second[..., 2:]) - low).clip(min=0).prod(-1)


def excess(common: np.ndarray, total: np.ndarray, iou: float) -> np.ndarray:
    """Sign of IoU minus a threshold, without a division: (1 + iou) common - iou total.

    Args:
        common: Area of the intersection.
        total: Sum of the areas of the two boxes.
        iou: The threshold.
    """
    return (1 + iou) * common - iou * total


@cache
def cover() -> tuple[np.ndarray, np.ndarray]:
    r"""Points whose boxes with the origin cover the unit ball of four dimensions.

    Let :math:`\|u\| \le 1` and :math:`k_i = \lceil m u_i^2 \rceil`. With n of them above 0,
    :math:`\sum k_i < m + n`, so that u lies in the box between 0 and the point
    :math:`\pm \sqrt{k_i / m}` with the signs of u; raising some k_i until the sum is m + n - 1
    only makes it larger.

    Returns:
        Levels (2 m + 1,) of a coordinate, and the points (p, 4) as indices of levels: those with
        such a sum for the n coordinates that are not 0, for every choice of these coordinates.
        They contain all corners of their boxes, up to points that are nearer to the origin.
    """
    levels = np.sqrt(np.arange(_PARTS + 1) / _PARTS)
    steps = range(-_PARTS, _PARTS + 1)
    points = np.array(list(product(steps, repeat=4)))
    used = (points != 0).sum(1)
    kept = (np.abs(points).sum(1) == _PARTS + used - 1) & (used > 0)
    return np.concatenate((-levels[:0:-1], levels)), points[kept | (used == 0)] + _PARTS
