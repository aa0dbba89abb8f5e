"""Poles with lamps, traffic lights and signs, and things of no class."""

import numpy as np

from .canvas import Canvas
from .classes import TrainId
from .thing import Thing, square, upright

RED, BLUE, WHITE = np.array([190, 25, 30]), np.array([25, 70, 165]), np.array([235, 235, 232])
YELLOW, GREEN, BLACK = np.array([235, 190, 40]), np.array([20, 110, 70]), np.array([25, 25, 27])


def _metal(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(45, 165) + rng.uniform(-8, 8, 3)


def street_lamp(x: float, z: float, sign: int, rng: np.random.Generator) -> Thing:
    """A lamp post whose arm reaches over the road."""
    color, height = _metal(rng), rng.uniform(5, 8.5)
    arm = rng.uniform(0.8, 2.2) * -sign
    width = rng.uniform(0.11, 0.18)

    def draw(canvas: Canvas) -> None:
        lit = color * canvas.light.shade((0, 0, -1))
        path = [(0, 0), (0, height), (arm * 0.6, height + 0.3), (arm, height + 0.25)]
        canvas.line(upright(x, z, path), width, lit, TrainId.POLE)
        head = [(arm * 0.75, height + 0.2), (arm * 1.1, height + 0.2), (arm * 1.1, height + 0.38)]
        canvas.polygon(upright(x, z, [*head, (arm * 0.75, height + 0.4)]), lit * 0.8, TrainId.POLE)
        canvas.lamp(np.array([x + arm, height + 0.2, z]), 0.16, np.array([255, 215, 140]))

    return Thing(z, square(x, z, 0.1), height, draw)


def traffic_light(x: float, z: float, rng: np.random.Generator) -> Thing:
    """A traffic light on a pole, facing the camera or sideways."""
    color, height = _metal(rng), rng.uniform(2.4, 3.6)
    phase = int(rng.integers(3))
    aside = rng.random() < 0.3
    backplate = rng.random() < 0.3

    def draw(canvas: Canvas) -> None:
        light = canvas.light.shade((0, 0, -1))
        canvas.line(upright(x, z, [(0, 0), (0, height + 0.9)]), 0.13, color * light, TrainId.POLE)
        half = 0.13 if aside else 0.18
        if backplate:
            plate = [
                (-0.3, height - 0.15),
                (0.3, height - 0.15),
                (0.3, height + 1.1),
                (-0.3, height + 1.1),
            ]
            canvas.polygon(upright(x, z, plate), WHITE * 0.9 * light, TrainId.TRAFFIC_LIGHT)
        box = [(-half, height), (half, height), (half, height + 0.95), (-half, height + 0.95)]
        canvas.polygon(upright(x, z, box), BLACK * light, TrainId.TRAFFIC_LIGHT)
        if aside:
            return
        for i, lamp in enumerate(
            (np.array([20, 220, 130]), np.array([250, 190, 30]), np.array([250, 40, 30]))
        ):
            center = np.array([x, height + 0.18 + 0.3 * i, z])
            canvas.disk(center, 0.11, lamp if i == phase else lamp * 0.2, None)
            if i == phase:
                canvas.lamp(center, 0.08, lamp)

    return Thing(z, square(x, z, 0.15), height + 0.9, draw)


def traffic_sign(x: float, z: float, rng: np.random.Generator) -> Thing:
    """One or two signs on a pole: round, triangular, square, octagonal, or a direction board."""
    color = _metal(rng)
    kind, back = int(rng.integers(7)), rng.random() < 0.15
    size = rng.uniform(0.32, 0.48)
    height = rng.uniform(2.0, 3.2)
    extra = rng.random() < 0.35
    board = _board_color(rng)
    wide = rng.uniform(0.6, 1.3)

    def draw(canvas: Canvas) -> None:
        light = canvas.light.shade((0, 0, -1))
        canvas.line(upright(x, z, [(0, 0), (0, height + size)]), 0.09, color * light, TrainId.POLE)

        def plate(
            corners: int, radius: float, turn: float, paint: np.ndarray, label: int | None
        ) -> None:
            angles = np.arange(corners) * 2 * np.pi / corners + turn
            outline = zip(radius * np.cos(angles), height + radius * np.sin(angles), strict=True)
            canvas.polygon(upright(x, z, list(outline)), paint * light, label)

        sign = TrainId.TRAFFIC_SIGN
        if back:
            plate(16, size, 0, np.array([140, 140, 142]), sign)
        elif kind == 0:  # speed limit or no entry
            plate(16, size, 0, RED, sign)
            plate(16, size * 0.72, 0, WHITE, None)
            plate(4, size * 0.3, np.pi / 4, BLACK, None)
        elif kind == 1:  # mandatory direction
            plate(16, size, 0, BLUE, sign)
            plate(3, size * 0.6, np.pi / 2, WHITE, None)
        elif kind == 2:  # warning or give way
            turn = np.pi / 2 if board[0] > 100 else -np.pi / 2
            plate(3, size * 1.2, turn, RED, sign)
            plate(3, size * 0.75, turn, WHITE, None)
        elif kind == 3:  # parking or crossing
            plate(4, size * 1.2, np.pi / 4, BLUE, sign)
            plate(3, size * 0.6, np.pi / 2, WHITE, None)
        elif kind == 4:  # stop
            plate(8, size, np.pi / 8, RED, sign)
            plate(4, size * 0.5, 0, WHITE, None)
        elif kind == 5:  # priority
            plate(4, size, 0, WHITE, sign)
            plate(4, size * 0.75, 0, YELLOW, None)
        else:  # directions
            low, high = height - 0.3, height + 0.35
            box = [(-wide, low), (wide, low), (wide, high), (-wide, high)]
            canvas.polygon(upright(x, z, box), board * light, sign)
            text = WHITE if board.mean() < 140 else BLACK
            for up in (height - 0.12, height + 0.12):
                line = [
                    (-wide * 0.8, up),
                    (wide * 0.6, up),
                    (wide * 0.6, up + 0.1),
                    (-wide * 0.8, up + 0.1),
                ]
                canvas.polygon(upright(x, z, line), text * light, None)
        if extra:
            low = height - size * 1.1 - 0.35
            box = [(-size, low), (size, low), (size, low + 0.3), (-size, low + 0.3)]
            canvas.polygon(upright(x, z, box), WHITE * 0.95 * light, sign)

    return Thing(z, square(x, z, 0.1), height, draw)


def _board_color(rng: np.random.Generator) -> np.ndarray:
    return (BLUE, YELLOW, WHITE, GREEN)[rng.integers(4)] * rng.uniform(0.85, 1.05)


def bin_or_box(x: float, z: float, rng: np.random.Generator) -> Thing:
    """A bin, a switch box or a stack of crates: static things of no class (void)."""
    color = rng.uniform(30, 160) + rng.uniform(-30, 30, 3)
    half, height = rng.uniform(0.25, 0.6), rng.uniform(0.7, 1.5)

    def draw(canvas: Canvas) -> None:
        light = canvas.light.shade((0, 0, -1))
        box = [(-half, 0), (half, 0), (half, height), (-half, height)]
        canvas.polygon(upright(x, z, box), color * light, TrainId.VOID)
        lid = [(-half, height * 0.88), (half, height * 0.88), (half, height), (-half, height)]
        canvas.polygon(upright(x, z, lid), color * 0.7 * light, None)

    return Thing(z, square(x, z, half), height, draw)
