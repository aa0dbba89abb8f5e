"""People on foot, and the colors of people."""

import numpy as np

from .canvas import Canvas
from .classes import TrainId
from .thing import Thing, square, upright

SKIN = np.array([[225, 180, 150], [190, 140, 105], [130, 90, 65], [85, 60, 45]])
DARK = np.array([35, 35, 38])


def cloth(rng: np.random.Generator) -> np.ndarray:
    """A color of clothes, RGB: muted more often than not."""
    if rng.random() < 0.6:
        return rng.uniform(25, 130) + rng.uniform(-15, 15, 3)
    return rng.uniform(30, 220, 3)


def person(x: float, z: float, rng: np.random.Generator) -> Thing:
    """A standing or walking person, seen from the front or the side."""
    size = rng.uniform(1.55, 1.9) if rng.random() < 0.9 else rng.uniform(0.9, 1.4)
    h = size / 1.75
    shirt, trousers, skin = cloth(rng), cloth(rng), SKIN[rng.integers(len(SKIN))]
    hair = rng.uniform(20, 150) * np.array([1, 0.8, 0.6])
    stride, swing = rng.uniform(0.02, 0.32) * h, rng.uniform(0, 0.2) * h
    half = rng.uniform(0.16, 0.25) * h
    hem = rng.uniform(0.6, 0.95) * h
    bag = cloth(rng) if rng.random() < 0.3 else None
    bag_at = rng.choice((-1, 1)) * half

    def draw(canvas: Canvas) -> None:
        light = canvas.light.shade((0, 0, -1))

        def part(outline: list[tuple[float, float]], color: np.ndarray) -> None:
            canvas.polygon(upright(x, z, outline), color * light, TrainId.PERSON)

        for leg in (-1, 1):
            foot, hip = leg * stride, leg * half * 0.5
            outline = [(hip - 0.09 * h, 0.9 * h), (hip + 0.09 * h, 0.9 * h)]
            outline += [(foot + 0.07 * h, 0.0), (foot - 0.07 * h, 0.0)]
            part(outline, trousers * (0.9 + 0.1 * leg))
            part([(foot - 0.09 * h, 0), (foot + 0.11 * h, 0), (foot + 0.08 * h, 0.09 * h)], DARK)
        for arm in (-1, 1):
            hand = arm * (half + 0.05 * h + 0.6 * swing)
            outline = [(arm * half * 0.8, 1.43 * h), (arm * (half + 0.06 * h), 1.4 * h)]
            part([*outline, (hand + 0.05 * h, 0.82 * h), (hand - 0.05 * h, 0.82 * h)], shirt * 0.85)
        neck = [(-half * 0.4, 1.5 * h), (half * 0.4, 1.5 * h), (half, 1.42 * h)]
        part([(-half, 1.42 * h), *neck, (half * 0.85, hem), (-half * 0.85, hem)], shirt)
        if bag is not None:
            low, high = 0.8 * h, 1.15 * h
            left, right = bag_at - 0.12, bag_at + 0.12
            part([(left, low), (right, low), (right, high), (left, high)], bag)
        canvas.disk(np.array([x, 1.62 * h, z]), 0.125 * h, hair * light, TrainId.PERSON)
        canvas.disk(np.array([x, 1.59 * h, z]), 0.1 * h, skin * light, TrainId.PERSON)

    return Thing(z, square(x, z, 0.25), size, draw)
