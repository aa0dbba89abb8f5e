"""Cars, trucks, buses and trains as extruded side views."""

from collections.abc import Callable

import numpy as np

from .body import Body
from .canvas import Canvas
from .classes import TrainId
from .pose import make_pose
from .thing import Thing

PAINTS = np.array(
    [
        [225, 225, 225],
        [180, 182, 185],
        [120, 122, 125],
        [45, 46, 50],
        [30, 45, 95],
        [60, 100, 160],
        [150, 30, 30],
        [190, 50, 35],
        [95, 75, 55],
        [200, 180, 140],
        [40, 85, 60],
        [215, 165, 50],
    ]
)

# Side views as (along, up) in meters from the rear bumper, and which edges are glass.
# Edge i leads from corner i to corner i + 1.
CARS = (
    # sedan
    (
        (
            (0, 0.35),
            (0, 0.95),
            (0.9, 1.0),
            (1.5, 1.45),
            (2.9, 1.45),
            (3.6, 1.0),
            (4.5, 0.85),
            (4.5, 0.35),
        ),
        (2, 4),
        1.8,
    ),
    # hatchback
    (
        ((0, 0.35), (0, 0.95), (0.35, 1.5), (2.3, 1.5), (3.0, 1.0), (3.9, 0.85), (3.9, 0.35)),
        (1, 3),
        1.7,
    ),
    # sports utility vehicle
    (
        ((0, 0.45), (0, 1.1), (0.4, 1.75), (2.9, 1.75), (3.5, 1.15), (4.5, 1.0), (4.5, 0.45)),
        (1, 3),
        1.9,
    ),
    # van
    (
        ((0, 0.4), (0, 1.2), (0.1, 1.95), (3.7, 1.95), (4.4, 1.2), (4.9, 1.0), (4.9, 0.4)),
        (1, 3),
        1.95,
    ),
)


def _paint(rng: np.random.Generator) -> np.ndarray:
    return PAINTS[rng.integers(len(PAINTS))] * rng.uniform(0.85, 1.1) + rng.uniform(-8, 8, 3)


def _box(u0: float, u1: float, y0: float, y1: float) -> np.ndarray:
    return np.array([[u0, y0], [u0, y1], [u1, y1], [u1, y0]])


def _thing(body: Body, height: float, draw: Callable[[Canvas], None]) -> Thing:
    footprint = body.footprint()
    return Thing(footprint[:, 1].min(), footprint, height, draw)


def car(x: float, z: float, heading: int, rng: np.random.Generator) -> Thing:
    """A sedan, hatchback, SUV or van."""
    corners, glass, width = CARS[rng.integers(len(CARS))]
    outline = np.array(corners, dtype=float)
    length = outline[-1, 0]
    body = Body(make_pose(x, z, length, heading), outline, width, _paint(rng), TrainId.CAR)
    glass_color = rng.uniform(30, 95) + np.array([-5, 0, 8])
    roof = outline[:, 1].max()
    top = outline[outline[:, 1] >= roof - 0.01]
    belt = outline[glass[0], 1] + 0.05
    rear, front = outline[glass[0], 0] + 0.25, outline[glass[-1] + 1, 0] - 0.15
    window = np.array(
        [[rear, belt], [top[0, 0], roof - 0.1], [top[-1, 0], roof - 0.1], [front, belt]]
    )
    pillar = rng.uniform(0.4, 0.6) * (rear + front)
    plate = np.array([225, 225, 215])

    def draw(canvas: Canvas) -> None:
        body.draw(canvas, glass, glass_color)
        body.on_side(canvas, window, glass_color)
        body.on_side(canvas, _box(pillar - 0.06, pillar + 0.06, belt, roof - 0.1), body.paint)
        body.on_side(
            canvas, _box(0.05, length - 0.05, outline[0, 1], outline[0, 1] + 0.12), body.paint * 0.5
        )
        body.on_end(canvas, (-width / 2, 0.35, width / 2, 0.52), body.paint * 0.55)
        body.on_end(canvas, (-0.26, 0.55, 0.26, 0.67), plate)
        body.lights(canvas, 0.78)
        body.wheels(canvas, (0.75, length - 0.85), 0.33)

    return _thing(body, roof, draw)


def truck(x: float, z: float, heading: int, rng: np.random.Generator) -> Thing:
    """A lorry: a cargo box or an open bed behind a cab."""
    length, height = rng.uniform(6, 10), rng.uniform(2.6, 3.7)
    pose = make_pose(x, z, length, heading)
    cab_top = rng.uniform(2.2, 2.8)
    cab_outline = [(length - 1.9, 0.5), (length - 1.9, cab_top), (length - 0.3, cab_top)]
    cab_outline += [(length, 1.4), (length, 0.5)]
    cab = Body(pose, np.array(cab_outline), 2.3, _paint(rng), TrainId.TRUCK)
    cargo_paint = _paint(rng) if rng.random() < 0.6 else rng.uniform(190, 240) + np.zeros(3)
    open_bed = rng.random() < 0.25
    cargo_top = 1.7 if open_bed else height
    cargo = Body(pose, _box(0, length - 2.1, 0.9, cargo_top), 2.4, cargo_paint, TrainId.TRUCK)
    frame = Body(
        pose, _box(0.0, length - 0.3, 0.5, 0.95), 2.0, np.array([45, 45, 48]), TrainId.TRUCK
    )
    glass = rng.uniform(30, 90) + np.zeros(3)
    stripe = _paint(rng)

    def draw_cargo(canvas: Canvas) -> None:
        cargo.draw(canvas, (), glass)
        for u in np.arange(0.6, length - 2.1, 0.9):
            cargo.on_side(canvas, _box(u, u + 0.05, 0.95, cargo_top - 0.05), cargo_paint * 0.88)
        cargo.on_side(canvas, _box(0.8, length - 3, 0.5 * cargo_top, 0.7 * cargo_top), stripe)
        if pose.cos > 0:
            cargo.on_end(canvas, (-1.12, 0.98, 1.12, cargo_top - 0.08), cargo_paint * 0.9)
            cargo.on_end(canvas, (-0.03, 0.98, 0.03, cargo_top - 0.08), cargo_paint * 0.6)

    def draw_cab(canvas: Canvas) -> None:
        cab.draw(canvas, (2,), glass)
        window = [(length - 1.5, 1.45), (length - 1.5, cab_top - 0.25)]
        window += [(length - 0.6, cab_top - 0.25), (length - 0.25, 1.45)]
        cab.on_side(canvas, np.array(window), glass)
        if pose.cos < 0:
            cab.on_end(canvas, (-0.9, 0.6, 0.9, 1.0), np.array([50, 50, 52]))
            cab.lights(canvas, 0.75)

    def draw(canvas: Canvas) -> None:
        frame.draw(canvas, (), glass)
        # The nearer part is painted last.
        for part in (draw_cargo, draw_cab) if pose.cos < 0 else (draw_cab, draw_cargo):
            part(canvas)
        if pose.cos > 0:
            frame.lights(canvas, 0.75)
        cab.wheels(canvas, (1.0, 2.0, length - 1.2), 0.48)

    return _thing(frame, height, draw)


def bus(x: float, z: float, heading: int, rng: np.random.Generator) -> Thing:
    """A city bus with a band of windows, doors and a lit destination."""
    length, height = rng.uniform(9, 13), rng.uniform(2.9, 3.3)
    if rng.random() < 0.15:
        height += 1.2  # double-decker
    pose = make_pose(x, z, length, heading)
    outline = [(0, 0.35), (0, height), (length - 0.15, height), (length, 1.2), (length, 0.35)]
    body = Body(pose, np.array(outline), 2.5, _paint(rng), TrainId.BUS)
    glass = rng.uniform(35, 85) + np.array([-4, 0, 6])
    skirt = body.paint * rng.uniform(0.4, 0.9)
    bands = [(1.35, 2.45)] if height < 4 else [(1.2, 2.1), (2.8, 3.8)]

    def draw(canvas: Canvas) -> None:
        body.draw(canvas, (), glass)
        body.on_side(canvas, _box(0, length, 0.35, 0.8), skirt)
        for low, high in bands:
            body.on_side(canvas, _box(0.4, length - 0.3, low, high), glass)
            for u in np.arange(1.8, length - 1, 1.5):
                body.on_side(canvas, _box(u, u + 0.12, low, high), body.paint * 0.6)
            body.on_end(canvas, (-1.1, low, 1.1, high), glass)
        for u in (length * 0.45, length - 1.6):
            body.on_side(canvas, _box(u, u + 1.1, 0.45, 2.4), glass * 0.8)
        body.on_end(canvas, (-0.8, bands[-1][1] + 0.15, 0.8, height - 0.1), np.array([35, 32, 30]))
        body.on_end(
            canvas, (-0.5, bands[-1][1] + 0.2, 0.5, height - 0.15), np.array([230, 160, 40])
        )
        body.lights(canvas, 0.75, 0.18)
        body.wheels(canvas, (2.2, length - 2.6), 0.48)

    return _thing(body, height, draw)


def train(x: float, z: float, heading: int, rng: np.random.Generator) -> Thing:
    """A tram of two or three sections on its track."""
    length, height = rng.uniform(20, 32), rng.uniform(3.2, 3.6)
    pose = make_pose(x, z, length, heading)
    outline = [(0, 0.25), (0.1, 1.3), (0.7, height), (length - 0.7, height)]
    outline += [(length - 0.1, 1.3), (length, 0.25)]
    body = Body(pose, np.array(outline), 2.4, _paint(rng), TrainId.TRAIN)
    glass = rng.uniform(30, 75) + np.array([-4, 0, 8])
    trim = _paint(rng)
    sections = int(rng.integers(2, 4))

    def draw(canvas: Canvas) -> None:
        body.draw(canvas, (1, 3), glass)
        body.on_side(canvas, _box(0.4, length - 0.4, 1.3, 2.5), glass)
        body.on_side(canvas, _box(0.1, length - 0.1, 0.8, 1.1), trim)
        for u in np.arange(2.0, length - 1, 2.2):
            body.on_side(canvas, _box(u, u + 0.15, 1.2, 2.55), body.paint * 0.7)
        for i in range(1, sections):
            u = length * i / sections
            body.on_side(canvas, _box(u - 0.4, u + 0.4, 0.3, height - 0.05), np.array([40, 40, 42]))
        body.on_side(canvas, _box(0.6, length - 0.6, height - 0.3, height), body.paint * 0.75)
        body.on_end(canvas, (-1.0, 0.9, 1.0, 1.12), trim)
        body.lights(canvas, 0.65, 0.16)
        middle = pose.place(np.full(3, length * 0.3), np.array([-0.6, 0, 0.6]), np.array([0, 1, 0]))
        middle[:, 1] = height + np.array([1.1, 0.0, 1.1])
        if middle[:, 2].min() > 5:
            canvas.line(middle, 0.06, np.array([50, 50, 52]), TrainId.TRAIN)

    return _thing(body, height, draw)
