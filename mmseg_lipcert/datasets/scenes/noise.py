"""Tileable value noise, computed once."""

from functools import cache

import cv2
import numpy as np

SIDE = 256


@cache
def tile(coarsest: int) -> np.ndarray:
    """Read-only tileable noise, (256, 256) uint8 with mean 128 and deviation about 40.

    Args:
        coarsest: Size of the largest blobs in pixels, a power of two; octaves go down to 1 pixel.
    """
    rng = np.random.default_rng([7, coarsest])
    total = np.zeros((SIDE, SIDE), np.float32)
    cell, weight = coarsest, 1.0
    while cell >= 1:
        small = rng.standard_normal((SIDE // cell, SIDE // cell)).astype(np.float32)
        wrapped = np.tile(small, (3, 3))
        large = cv2.resize(wrapped, (3 * SIDE, 3 * SIDE), interpolation=cv2.INTER_CUBIC)
        total += weight * large[SIDE : 2 * SIDE, SIDE : 2 * SIDE]
        cell, weight = cell // 2, weight * 0.6
    total -= total.mean()
    noise = np.clip(128 + 40 * total / total.std(), 0, 255).astype(np.uint8)
    noise.setflags(write=False)
    return noise


def crop(rng: np.random.Generator, height: int, width: int, coarsest: int) -> np.ndarray:
    """A random (height, width) uint8 piece of the endless tiling of ``tile(coarsest)``."""
    rows = (np.arange(height) + rng.integers(SIDE)) % SIDE
    columns = (np.arange(width) + rng.integers(SIDE)) % SIDE
    return tile(coarsest)[rows[:, None], columns]
