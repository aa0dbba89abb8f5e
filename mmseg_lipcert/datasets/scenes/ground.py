"""Road, markings, sidewalks and grass, with the shadows of what stands on them."""

import cv2
import numpy as np

from . import noise
from .canvas import Canvas
from .classes import TrainId
from .street import FAR, Street
from .thing import Thing

NEAREST = 1.0  # meters; the ground is painted from here on
UP = (0.0, 1.0, 0.0)


def draw_ground(
    canvas: Canvas, street: Street, things: list[Thing], rng: np.random.Generator
) -> None:
    """Paint road, markings, sidewalks and grass, with the shadows of ``things``."""
    asphalt = rng.uniform(75, 135) + rng.uniform(-8, 8, 3)
    paving = rng.uniform(105, 175) + rng.uniform(-14, 14, 3) + np.array([6, 0, -6])
    grass = rng.uniform((75, 95, 35), (135, 140, 75))
    horizon = canvas.camera.cy
    top = max(0, int(np.ceil(horizon)) + 1)
    _quad(canvas, -900, 900, NEAREST, FAR, paving, TrainId.SIDEWALK)
    for side in street.sides:
        outside, edge = 900 * side.sign, side.sidewalk * side.sign
        if side.frontage > side.sidewalk:
            _quad(canvas, edge, outside, NEAREST, FAR, grass, TrainId.TERRAIN)
        for z in np.arange(4, 30, rng.uniform(0.8, 2.0)):
            x0, x1 = side.verge * side.sign, edge
            _quad(canvas, x0, x1, z, z + 0.05, paving * 0.82, None)
        if side.verge > side.road:
            x0, x1 = side.road * side.sign, side.verge * side.sign
            _quad(canvas, x0, x1, NEAREST, FAR, grass * 1.05, TrainId.TERRAIN)
    left, right = -street.sides[0].road, street.sides[1].road
    curb = rng.uniform(130, 190) + rng.uniform(-5, 5, 3)
    _quad(canvas, left - 0.18, right + 0.18, NEAREST, FAR, curb, TrainId.SIDEWALK)
    _quad(canvas, left, right, NEAREST, FAR, asphalt, TrainId.ROAD)
    _draw_markings(canvas, street, asphalt, rng)
    if street.crossing is not None:
        near, far = street.crossing
        _quad(canvas, -900, 900, near, far, asphalt, TrainId.ROAD)
        if rng.random() < 0.7:
            paint = rng.uniform(170, 235) + np.zeros(3)
            for x in np.arange(left + 0.4, right - 0.4, 1.0):
                _quad(canvas, x, x + 0.5, near - 4.0, near - 1.0, paint, None)
    for _ in range(rng.integers(0, 6)):  # patches and manholes
        x, z, size = rng.uniform(left, right), rng.uniform(3.5, 25), rng.uniform(0.3, 1.6)
        _quad(
            canvas, x, x + size, z, z + size * rng.uniform(1, 3), asphalt * rng.uniform(0.75, 1.15)
        )
    ground = canvas.rgb[top:]
    factor = _texture(canvas, top, rng) * _shadows(canvas, top, things)
    np.copyto(ground, cv2.multiply(ground, cv2.merge([factor] * 3), dtype=cv2.CV_8U))


def _quad(
    canvas: Canvas,
    x0: float,
    x1: float,
    z0: float,
    z1: float,
    color: np.ndarray,
    label: int | None = None,
) -> None:
    canvas.polygon([[x0, 0, z0], [x1, 0, z0], [x1, 0, z1], [x0, 0, z1]], color, label, UP)


def _draw_markings(
    canvas: Canvas, street: Street, asphalt: np.ndarray, rng: np.random.Generator
) -> None:
    paint = rng.uniform(165, 240) + np.array([0, 0, -rng.uniform(0, 60) * (rng.random() < 0.2)])
    period, start = rng.uniform(6, 12), rng.uniform(0, 6)
    left, right = street.sides
    lines = [-(i + 0.5) * street.lane_width for i in range(len(left.lanes))]
    lines += [(i + 0.5) * street.lane_width for i in range(len(right.lanes))]
    solid = rng.random() < 0.25
    for x in lines:
        if solid and x == lines[0]:
            _quad(canvas, x - 0.07, x + 0.07, NEAREST, FAR, paint)
            continue
        for z in np.arange(start, 80, period):
            _quad(canvas, x - 0.07, x + 0.07, max(z, NEAREST), z + period * 0.45, paint)
    if rng.random() < 0.5:
        for side in street.sides:
            x = side.sign * (street.lane_width * (len(side.lanes) + 0.5))
            _quad(canvas, x - 0.06, x + 0.06, NEAREST, FAR, paint)
    if rng.random() < 0.6:  # worn wheel tracks
        tone = asphalt * rng.uniform(0.86, 1.1)
        for x in (-0.8, 0.8):
            _quad(canvas, x - 0.3, x + 0.3, NEAREST, FAR, tone)
    if street.tram is not None:
        for x in (street.tram - 0.72, street.tram + 0.72):
            _quad(canvas, x - 0.14, x + 0.14, NEAREST, FAR, asphalt * 0.65)
            _quad(canvas, x - 0.04, x + 0.04, NEAREST, FAR, np.array([170, 165, 160]))


def _texture(canvas: Canvas, top: int, rng: np.random.Generator) -> np.ndarray:
    """Factors (H - top, W) of noise that is fixed to the ground, weaker where it gets fine."""
    height, width = canvas.labels.shape
    camera = canvas.camera
    below = top - camera.cy
    dx, dz = rng.uniform(0, noise.SIDE, 2)
    back = 12.0 * camera.height  # 12 pixels of noise per meter
    # Pixel -> noise coordinates: X = (x - cx) h / (y - cy), Z = f h / (y - cy), y from `top`.
    transform = np.array(
        [
            [back, dx, -back * camera.cx + dx * below],
            [0, dz, back * camera.focal + dz * below],
            [0, 1, below],
        ]
    )
    layer = cv2.warpPerspective(
        noise.tile(16),
        transform,
        (width, height - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_WRAP,
    )
    rows = np.arange(height - top, dtype=np.float32) + np.float32(below)
    strength = np.clip(rows / (0.35 * height), 0.15, 1) * np.float32(rng.uniform(0.03, 0.1) / 40)
    return 1 + (layer - np.float32(128)) * strength[:, None]


def _shadows(canvas: Canvas, top: int, things: list[Thing]) -> np.ndarray:
    """Factors (H - top, W): darker under things, and away from the sun where it shines."""
    camera, light = canvas.camera, canvas.light
    height, width = canvas.labels.shape
    cast = np.zeros((height, width), np.uint8)
    contact = np.zeros((height, width), np.uint8)
    sun = light.sun
    shift = -sun[[0, 2]] / sun[1]

    def fill(target: np.ndarray, outline: np.ndarray) -> None:
        ground = np.zeros((len(outline), 3))
        ground[:, 0] = outline[:, 0]
        ground[:, 2] = np.maximum(outline[:, 1], NEAREST)
        pixels = np.maximum(np.minimum(camera.project(ground), 16000), -16000)
        cv2.fillPoly(target, [np.rint(pixels).astype(np.int32)], 255)

    for thing in things:
        if thing.z > 80:
            continue
        feet = thing.footprint
        fill(contact, feet)
        if light.direct > 0.05:
            both = np.concatenate(
                [feet, (feet if thing.top is None else thing.top) + shift * thing.height]
            ).astype(np.float32)
            fill(cast, cv2.convexHull(both)[:, 0])
    reach = max(1, round(height / 160))
    lost = light.direct * sun[1] / (light.ambient + light.direct * sun[1])
    factor = 1 - np.float32(lost / 255) * cv2.blur(cast[top:], (2 * reach + 1, 2 * reach + 1))
    factor *= 1 - np.float32(0.55 / 255) * cv2.blur(contact[top:], (4 * reach + 1, 4 * reach + 1))
    return factor
