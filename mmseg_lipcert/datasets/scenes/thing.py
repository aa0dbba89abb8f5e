"""What stands on the ground."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas


@dataclass(frozen=True)
class Thing:
    """An object of a scene.

    Attributes:
        z: Distance of its nearest point in meters: the order of painting.
        footprint: (N, 2) outline on the ground as (X, Z), for its shadow.
        height: Height in meters, for its shadow.
        draw: Paints it.
        top: (M, 2) outline as (X, Z) of what casts a shadow from ``height``; None: ``footprint``.
    """

    z: float
    footprint: np.ndarray
    height: float
    draw: Callable[[Canvas], None]
    top: np.ndarray | None = None


def square(x: float, z: float, half: float) -> np.ndarray:
    """A square footprint (4, 2) around (x, z)."""
    return np.array(
        [[x - half, z - half], [x + half, z - half], [x + half, z + half], [x - half, z + half]]
    )


def upright(x: float, z: float, outline: list[tuple[float, float]]) -> np.ndarray:
    """World points (N, 3) of an outline of (sideways, up) pairs that faces the camera at (x, z)."""
    return np.array([(x + side, up, z) for side, up in outline])
