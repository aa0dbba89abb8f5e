"""Trees and hedges."""

import numpy as np

from .canvas import Canvas
from .classes import TrainId
from .light import Light
from .street import Side
from .thing import Thing, square


def _foliage(rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.15:  # autumn
        return rng.uniform((110, 70, 25), (175, 115, 50))
    return rng.uniform((45, 65, 25), (95, 115, 60))


def tree(x: float, z: float, height: float, light: Light, rng: np.random.Generator) -> Thing:
    """A tree of ``height`` meters: a trunk and a crown of leafy blobs."""
    color = _foliage(rng)
    bark = rng.uniform((55, 45, 35), (115, 95, 80))
    radius = height * rng.uniform(0.2, 0.33)
    stretch = rng.uniform(0.8, 1.4)
    middle = height - radius * stretch
    count = int(np.clip(500 * radius / z, 6, 60))
    spread = rng.normal(size=(count, 2))
    spread *= (0.75 * rng.random((count, 1)) ** 0.5) / np.linalg.norm(spread, axis=1, keepdims=True)
    # Large blobs first, small ones on top of them.
    sizes = np.linspace(0.55, 0.2, count) * rng.uniform(0.8, 1.2, count) * radius
    tones = rng.uniform(0.85, 1.15, count)
    # Leaves that face the sun are brighter; those on top are in any weather.
    facing = 0.85 + 0.25 * spread[:, 1] + 0.3 * light.direct * spread[:, 0] * light.sun[0]
    strength = light.ambient + 0.5 * light.direct * (1 - light.sun[2]) / 2

    def draw(canvas: Canvas) -> None:
        width = 0.035 * height
        canvas.line([[x, 0, z], [x, middle, z]], width, bark * strength, TrainId.VEGETATION)
        centers = np.full((count, 3), z)
        centers[:, 0] = x + spread[:, 0] * radius
        centers[:, 1] = middle + spread[:, 1] * radius * stretch
        shades = (tones * facing * strength)[:, None]
        canvas.disks(centers, sizes, color * shades, TrainId.VEGETATION)

    return Thing(z, square(x, z, 0.03 * height), height, draw, top=square(x, z, 0.7 * radius))


def hedge(side: Side, near: float, far: float, light: Light, rng: np.random.Generator) -> Thing:
    """A hedge or a row of bushes along the frontage."""
    color = _foliage(rng)
    height = rng.uniform(0.8, 3.0)
    x = side.frontage * side.sign
    z0 = max(near, 1.5)
    steps = np.linspace(far, z0, max(3, int((far - z0) / 0.9)))
    tops = height * rng.uniform(0.75, 1.1, len(steps))
    tones = rng.uniform(0.8, 1.15, (len(steps), 3))
    strength = light.shade((-side.sign, 0, 0))

    def draw(canvas: Canvas) -> None:
        outline = [
            [x, 0, far],
            *([x, top, z] for top, z in zip(tops, steps, strict=True)),
            [x, 0, z0],
        ]
        canvas.polygon(outline, color * strength, TrainId.VEGETATION)
        levels = np.array([0.25, 0.6, 0.9])
        centers = np.empty((len(steps), 3, 3))
        centers[..., 0] = x
        centers[..., 1] = tops[:, None] * levels
        centers[..., 2] = steps[:, None]
        sizes = np.tile(0.26 * height * (1.15 - 0.3 * levels), len(steps))
        shades = (tones * (0.65 + 0.45 * levels) * strength).reshape(-1, 1)
        canvas.disks(centers.reshape(-1, 3), sizes, color * shades, TrainId.VEGETATION)

    return Thing(near, np.array([[x, near], [x, far]]), height, draw)
