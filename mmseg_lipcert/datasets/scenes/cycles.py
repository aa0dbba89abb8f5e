"""Bicycles and motorcycles, parked or with a rider."""

from dataclasses import dataclass

import numpy as np

from .canvas import Canvas
from .classes import TrainId
from .people import DARK, SKIN, cloth
from .pose import Pose
from .thing import Thing, square

TURN = np.linspace(0, 2 * np.pi, 13)[:-1]
STEEL = np.array([115, 115, 118])


@dataclass(frozen=True)
class Brush:
    """Draws parts given in the side view of a cycle as (along, up) from its middle."""

    canvas: Canvas
    pose: Pose
    label: int

    def points(self, outline: list[tuple[float, float]] | np.ndarray, across: float) -> np.ndarray:
        """World points (N, 3) of an outline (N, 2), ``across`` meters to the right."""
        outline = np.asarray(outline, dtype=np.float64)
        return self.pose.place(outline[:, 0], np.full(len(outline), across), outline[:, 1])

    def solid(
        self, outline: list[tuple[float, float]] | np.ndarray, half: float, color: np.ndarray
    ) -> None:
        """Paint a convex part that reaches ``half`` meters to both sides."""
        both = np.concatenate([self.points(outline, -half), self.points(outline, half)])
        self.canvas.hull(both, self._lit(color), self.label)

    def tube(
        self, path: list[tuple[float, float]], width: float, color: np.ndarray, across: float = 0.0
    ) -> None:
        """Paint a tube of ``width`` meters along a path."""
        self.canvas.line(self.points(path, across), width, self._lit(color), self.label)

    def bar(self, along: float, up: float, half: float, width: float, color: np.ndarray) -> None:
        """Paint a bar across the cycle."""
        ends = self.pose.place(np.full(2, along), np.array([-half, half]), np.full(2, up))
        self.canvas.line(ends, width, self._lit(color), self.label)

    def _lit(self, color: np.ndarray) -> np.ndarray:
        return color * self.canvas.light.shade((0, 0, -1))


def _wheel(along: float, radius: float) -> np.ndarray:
    return np.stack([along + radius * np.cos(TURN), radius + radius * np.sin(TURN)], axis=1)


def _draw_bicycle(brush: Brush, paint: np.ndarray) -> None:
    for u in (-0.55, 0.55):
        wheel = _wheel(u, 0.34)
        # One sees through the spokes, but the annotation covers the wheel.
        brush.canvas.polygon(brush.points(wheel, 0.0), None, brush.label)
        brush.tube([*wheel.tolist(), wheel[0].tolist()], 0.06, DARK)
    brush.tube([(-0.55, 0.34), (-0.1, 0.3), (0.4, 0.8), (-0.15, 0.75), (-0.55, 0.34)], 0.06, paint)
    brush.tube([(-0.1, 0.3), (-0.2, 0.9)], 0.06, paint)
    brush.tube([(0.55, 0.34), (0.38, 1.0)], 0.06, paint)
    brush.tube([(-0.32, 0.92), (-0.08, 0.92)], 0.1, DARK)
    brush.bar(0.38, 1.0, 0.28, 0.06, DARK)


def _draw_motorcycle(brush: Brush, paint: np.ndarray) -> None:
    for u in (-0.68, 0.68):
        brush.solid(_wheel(u, 0.31), 0.08, DARK)
        brush.canvas.polygon(brush.points(_wheel(u, 0.16) + (0, 0.15), 0.0), STEEL, None)
    brush.solid([(-0.35, 0.22), (0.3, 0.22), (0.35, 0.6), (-0.35, 0.6)], 0.15, STEEL * 0.6)
    brush.solid([(-0.8, 0.85), (-0.65, 0.6), (0.0, 0.6), (-0.1, 0.85)], 0.14, DARK)
    brush.solid([(-0.1, 0.62), (0.35, 0.6), (0.45, 0.98), (-0.05, 0.9)], 0.16, paint)
    brush.solid([(0.45, 0.75), (0.6, 0.8), (0.5, 1.15), (0.42, 1.1)], 0.15, paint)
    brush.tube([(0.68, 0.31), (0.45, 1.0)], 0.08, STEEL)
    brush.bar(0.4, 1.05, 0.36, 0.07, DARK)


def _draw_rider(brush: Brush, seat: float, lean: float, colors: tuple[np.ndarray, ...]) -> None:
    shirt, trousers, helmet, skin = colors
    for side in (-0.13, 0.13):
        brush.tube([(-0.15, seat), (0.22, 0.65), (0.02, 0.2)], 0.16, trousers, side)
    chest = seat + 0.58
    torso = [(-0.28, seat - 0.05), (-0.05, seat - 0.05), (lean + 0.1, chest), (lean - 0.12, chest)]
    brush.solid(torso, 0.2, shirt)
    for side in (-0.22, 0.22):
        brush.tube([(lean, seat + 0.5), (0.2, seat + 0.2), (0.38, 1.04)], 0.11, shirt * 0.85, side)
    (head,) = brush.points([(lean + 0.06, seat + 0.74)], 0.0)
    light = brush.canvas.light.shade((0, 0, -1))
    brush.canvas.disk(head, 0.14, helmet * light, TrainId.RIDER)
    brush.canvas.disk(head - (0, 0.06, 0), 0.08, skin * light, TrainId.RIDER)


def cycle(
    x: float, z: float, angle: float, motor: bool, ridden: bool, rng: np.random.Generator
) -> Thing:
    """A bicycle or motorcycle, parked or ridden.

    Args:
        x: Middle, in meters to the right of the camera.
        z: Distance of the middle in meters.
        angle: Heading in radians; 0 points away from the camera, pi/2 to the right.
        motor: Motorcycle instead of bicycle.
        ridden: Whether somebody (class rider) sits on it.
        rng: Source of colors.
    """
    pose = Pose(x, z, float(np.cos(angle)), float(np.sin(angle)))
    paint = rng.uniform(20, 220, 3)
    colors = (cloth(rng), cloth(rng), rng.uniform(20, 230, 3), SKIN[rng.integers(len(SKIN))])

    def draw(canvas: Canvas) -> None:
        if motor:
            _draw_motorcycle(Brush(canvas, pose, TrainId.MOTORCYCLE), paint)
        else:
            _draw_bicycle(Brush(canvas, pose, TrainId.BICYCLE), paint)
        if ridden:
            seat, lean = (0.82, 0.12) if motor else (0.95, 0.25)
            _draw_rider(Brush(canvas, pose, TrainId.RIDER), seat, lean, colors)

    return Thing(z, square(x, z, 0.35), 1.7 if ridden else 1.0, draw)
