"""Position and heading of what drives."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pose:
    """Where a vehicle stands: the middle of its rear on the ground, and its heading.

    ``cos`` and ``sin`` are those of the angle from +Z (driving away) towards +X.
    """

    x: float
    z: float
    cos: float
    sin: float

    def place(self, along: np.ndarray, across: np.ndarray, up: np.ndarray) -> np.ndarray:
        """World points (N, 3) from (N,) coordinates of the vehicle; ``across`` is to its right."""
        points = np.empty((len(up), 3))
        points[:, 0] = self.x + along * self.sin + across * self.cos
        points[:, 1] = up
        points[:, 2] = self.z + along * self.cos - across * self.sin
        return points

    def turn(self, along: float, across: float, up: float) -> tuple[float, float, float]:
        """World direction from a direction of the vehicle."""
        return (
            along * self.sin + across * self.cos,
            up,
            along * self.cos - across * self.sin,
        )


def make_pose(x: float, z: float, length: float, heading: int) -> Pose:
    """Pose of a vehicle whose nearest point is at ``z`` (headings 0, 180) or that crosses there.

    Args:
        x: Middle of the lane; for a crossing vehicle the middle of the vehicle.
        z: Distance of the nearest end; for a crossing vehicle, of its middle line.
        length: Length in meters.
        heading: 0 drives away, 180 comes towards the camera, 90 and 270 cross to the right, left.
    """
    if heading == 0:
        return Pose(x, z, 1.0, 0.0)
    if heading == 180:
        return Pose(x, z + length, -1.0, 0.0)
    sign = 1.0 if heading == 90 else -1.0
    return Pose(x - sign * length / 2, z, 0.0, sign)
