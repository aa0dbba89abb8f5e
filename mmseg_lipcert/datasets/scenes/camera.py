"""Perspective: from meters to pixels."""

from dataclasses import dataclass

import numpy as np

NEAR = 0.6  # meters; what is closer to the camera plane is cut off


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along +Z; X is right, Y is up, the ground is Y = 0.

    Attributes:
        focal: Focal length in pixels.
        cx: Column of the vanishing point.
        cy: Row of the horizon.
        height: Height above the ground in meters.
    """

    focal: float
    cx: float
    cy: float
    height: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """Map world points (N, 3) in meters, Z > 0, to pixels (N, 2) as (column, row)."""
        scale = self.focal / points[:, 2]
        pixels = np.empty((len(points), 2))
        pixels[:, 0] = self.cx + scale * points[:, 0]
        pixels[:, 1] = self.cy - scale * (points[:, 1] - self.height)
        return pixels


def clip_near(points: np.ndarray) -> np.ndarray:
    """Cut a polygon (N, 3) at the plane Z = NEAR; the result may be empty."""
    inside = points[:, 2] >= NEAR
    if inside.all():
        return points
    kept = []
    for i in range(len(points)):
        a, b = points[i - 1], points[i]
        if inside[i - 1] != inside[i]:
            kept.append(a + (b - a) * ((NEAR - a[2]) / (b[2] - a[2])))
        if inside[i]:
            kept.append(b)
    return np.array(kept).reshape(-1, 3)
