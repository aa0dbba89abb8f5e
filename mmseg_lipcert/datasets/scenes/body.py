"""The body of a vehicle."""

import numpy as np

from .canvas import Canvas
from .pose import Pose

TIRE, HUB = np.array([28, 28, 30]), np.array([125, 125, 130])


class Body:
    """A side view extruded across the vehicle, drawn face by face.

    Args:
        pose: Where the vehicle stands.
        outline: (N, 2) corners (along, up), from the lower rear over the roof to the lower front.
        width: In meters.
        paint: RGB.
        label: Train id.
    """

    def __init__(
        self, pose: Pose, outline: np.ndarray, width: float, paint: np.ndarray, label: int
    ) -> None:
        self.pose = pose
        self.outline = np.asarray(outline, dtype=np.float64)
        self.half = width / 2
        self.paint = paint
        self.label = label

    def _inset(self, up: np.ndarray) -> np.ndarray:
        # Cabins lean inwards above the belt line of a car; boxes do not.
        belt = 1.0
        if self.outline[:, 1].max() > 2.0:
            return np.zeros_like(up)
        return 0.28 * np.maximum(up - belt, 0)

    def side(self, canvas: Canvas) -> int:
        """Which long side the camera sees: 1 right, -1 left, 0 neither."""
        px, _, pz = self.pose.turn(0, 1, 0)
        towards = -(self.pose.x * px + self.pose.z * pz)
        return 0 if abs(towards) <= self.half else (1 if towards > 0 else -1)

    def draw(self, canvas: Canvas, glass: tuple[int, ...], glass_color: np.ndarray) -> None:
        """Paint the visible faces; edges of the outline in ``glass`` are windows."""
        corners = self.outline
        eye = np.array([0, canvas.camera.height, 0])
        faces = []
        for i in range(len(corners) - 1):
            (a0, b0), (a1, b1) = corners[i], corners[i + 1]
            normal = np.array([-(b1 - b0), a1 - a0]) / np.hypot(a1 - a0, b1 - b0)
            direction = self.pose.turn(normal[0], 0, normal[1])
            w0, w1 = self.half - self._inset(np.array([b0, b1]))
            quad = self.pose.place(
                np.array([a0, a0, a1, a1]), np.array([-w0, w0, w1, -w1]), np.array([b0, b0, b1, b1])
            )
            if np.dot(direction, eye - quad.mean(0)) <= 0:
                continue
            faces.append((-quad[:, 2].mean(), i, quad, direction))
        for _, i, quad, direction in sorted(faces, key=lambda face: face[0]):
            canvas.polygon(quad, self.paint, self.label, direction)
            if i in glass:
                inner = quad.mean(0) + (quad - quad.mean(0)) * 0.86
                canvas.polygon(inner, glass_color, None, direction)
        self.on_side(canvas, corners, self.paint, self.label)

    def on_side(
        self, canvas: Canvas, outline: np.ndarray, color: np.ndarray, label: int | None = None
    ) -> None:
        """Paint a polygon (N, 2) of (along, up) on the long side that is seen."""
        side = self.side(canvas)
        if side == 0 or (label is None and not canvas.shows_details(self.pose.z)):
            return
        outline = np.asarray(outline, dtype=np.float64)
        across = side * (self.half - self._inset(outline[:, 1]))
        points = self.pose.place(outline[:, 0], across, outline[:, 1])
        canvas.polygon(points, color, label, self.pose.turn(0, side, 0))

    def on_end(
        self, canvas: Canvas, box: tuple[float, float, float, float], color: np.ndarray
    ) -> None:
        """Paint a box (left, bottom, right, top) on the end that faces the camera."""
        along = self.near_end()
        if along is None or not canvas.shows_details(self.pose.z):
            return
        left, bottom, right, top = box
        points = self.pose.place(
            np.full(4, along),
            np.array([left, right, right, left]),
            np.array([bottom, bottom, top, top]),
        )
        canvas.polygon(points, color, None, (0, 0, -1))

    def near_end(self) -> float | None:
        """Position along the vehicle of the end that faces the camera; None if it crosses."""
        if self.pose.cos > 0.5:
            return float(self.outline[:, 0].min())
        if self.pose.cos < -0.5:
            return float(self.outline[:, 0].max())
        return None

    def wheels(self, canvas: Canvas, positions: tuple[float, ...], radius: float) -> None:
        """Paint wheels at ``positions`` along the side that is seen, and those at the near end."""
        angles = np.linspace(0, 2 * np.pi, 14)[:-1]
        ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        side = self.side(canvas)
        along = self.near_end()
        if along is not None:
            inner = 0.45 if along == 0 else -0.45
            for v in (-1, 1):
                across = np.array([self.half, self.half, self.half - 0.25, self.half - 0.25]) * v
                points = self.pose.place(
                    np.full(4, along + inner), across, np.array([0, 1.2, 1.2, 0]) * radius
                )
                canvas.polygon(points, TIRE, self.label)
        if side:
            for u in positions:
                for size, color in ((1.0, TIRE), (0.6, HUB)):
                    disk = ring * radius * size + (u, radius)
                    points = self.pose.place(
                        disk[:, 0], np.full(len(disk), side * self.half), disk[:, 1]
                    )
                    label = self.label if size == 1.0 else None
                    canvas.polygon(points, color, label, self.pose.turn(0, side, 0))

    def lights(self, canvas: Canvas, up: float, size: float = 0.14) -> None:
        """Paint tail or head lights at height ``up`` on the near end."""
        along = self.near_end()
        if along is None:
            return
        away = self.pose.cos > 0
        color = np.array([190, 25, 20]) if away else np.array([240, 240, 225])
        for v in (-1, 1):
            across = v * (self.half - 0.22)
            box = (across - size, up - size * 0.6, across + size, up + size * 0.6)
            self.on_end(canvas, box, color)
            lamp = self.pose.place(np.array([along]), np.array([across]), np.array([up]))[0]
            canvas.lamp(
                lamp, size * 0.8, np.array([150, 20, 10]) if away else np.array([255, 240, 200])
            )

    def footprint(self) -> np.ndarray:
        """Outline on the ground, (4, 2) as (X, Z)."""
        u0, u1 = self.outline[:, 0].min(), self.outline[:, 0].max()
        along = np.array([u0, u1, u1, u0])
        across = np.array([-1, -1, 1, 1]) * self.half
        return self.pose.place(along, across, np.zeros(4))[:, [0, 2]]
