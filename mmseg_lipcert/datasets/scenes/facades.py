"""Buildings, walls and fences along a street, and what grows behind them."""

from dataclasses import dataclass

import cv2
import numpy as np

from . import noise
from .canvas import Canvas
from .classes import TrainId
from .light import Light
from .plants import hedge, tree
from .street import Side, Street
from .thing import Thing

WALL_COLORS = np.array(
    [
        [150, 85, 65],
        [175, 120, 95],
        [200, 185, 155],
        [215, 205, 190],
        [150, 150, 150],
        [110, 112, 118],
        [205, 180, 120],
        [150, 165, 175],
        [190, 150, 140],
        [125, 105, 90],
    ]
)


@dataclass(frozen=True)
class FacadeStyle:
    """Look of a building; lengths in meters, colors RGB."""

    color: np.ndarray
    trim: np.ndarray
    glass: np.ndarray
    floor: float
    spacing: float
    window: tuple[float, float]
    shop: bool
    bricks: bool


def _sample_style(rng: np.random.Generator) -> FacadeStyle:
    color = WALL_COLORS[rng.integers(len(WALL_COLORS))] * rng.uniform(0.75, 1.15)
    spacing = rng.uniform(1.9, 3.6)
    return FacadeStyle(
        color=color + rng.uniform(-10, 10, 3),
        trim=color * rng.uniform(0.7, 1.3),
        glass=rng.uniform(35, 120) + np.array([-6, 0, 12]),
        floor=rng.uniform(2.8, 3.6),
        spacing=spacing,
        window=(spacing * rng.uniform(0.35, 0.75), rng.uniform(1.2, 2.1)),
        shop=bool(rng.random() < 0.4),
        bricks=bool(rng.random() < 0.4),
    )


def _facade(
    style: FacadeStyle,
    width: float,
    height: float,
    scale: float,
    light: Light,
    rng: np.random.Generator,
) -> np.ndarray:
    """Texture of a facade of ``width`` x ``height`` meters at ``scale`` pixels per meter."""
    rows, columns = max(4, round(height * scale)), max(4, round(width * scale))
    image = np.empty((rows, columns, 3), np.uint8)
    image[:] = np.clip(style.color, 0, 255)
    if style.bricks and scale >= 8:
        image[:: max(2, round(0.3 * scale))] = np.clip(style.color * 0.88, 0, 255)
    trim, glass = np.clip(style.trim, 0, 255).tolist(), np.clip(style.glass, 0, 255).tolist()

    def box(x: float, y: float, w: float, h: float, color: list[float], thick: int = -1) -> None:
        a = (round(x * scale), rows - round((y + h) * scale))
        b = (round((x + w) * scale) - 1, rows - round(y * scale) - 1)
        cv2.rectangle(image, a, b, color, thick)

    base = 0.0
    if style.shop:
        base = style.floor
        box(0, 0, width, style.floor, np.clip(style.color * 0.7, 0, 255).tolist())
        for x in np.arange(0.3, width - 2, 3.2):
            pane = np.array([190, 160, 110]) if rng.random() < 0.35 else style.glass * 0.8
            box(x, 0.4, 2.6, style.floor - 1.1, pane.tolist())
        box(0, style.floor - 0.65, width, 0.5, rng.uniform(30, 220, 3).tolist())
    else:
        box(rng.uniform(0, max(0.1, width - 1.2)), 0, 1.1, 2.1, (style.trim * 0.5).tolist())
    w, h = style.window
    lit = 0.3 if light.lamps else 0.0
    for y in np.arange(base + 0.9, height - h - 0.2, style.floor):
        for x in np.arange((style.spacing - w) / 2, width - w, style.spacing):
            pane = (
                [235, 205, 130] if rng.random() < lit else (np.array(glass) * rng.uniform(0.7, 1.3))
            )
            box(x - 0.1, y - 0.1, w + 0.2, h + 0.2, trim)
            box(x, y, w, h, np.asarray(pane).tolist())
        if rng.random() < 0.3:
            box(0, y - 0.95, width, 0.15, trim)
    box(0, height - 0.4, width, 0.4, trim)
    grain = noise.crop(rng, rows, columns, 32)
    return cv2.multiply(image, cv2.merge([grain // 4 + 96] * 3), scale=1 / 128)


def building(
    side: Side,
    near: float,
    far: float,
    setback: float,
    attached: bool,
    light: Light,
    rng: np.random.Generator,
) -> Thing:
    """A building between ``near`` and ``far`` meters, ``setback`` behind the frontage.

    Where it is ``attached`` to a neighbor in front, its side has no windows.
    """
    style = _sample_style(rng)
    height = style.floor * rng.integers(2, 7) + rng.uniform(0.3, 1.2)
    depth = rng.uniform(7, 12)
    x, back = (side.frontage + setback) * side.sign, (side.frontage + setback + depth) * side.sign
    gable = rng.uniform(1.5, 3.5) if rng.random() < 0.4 else 0.0
    roof = rng.uniform((70, 45, 40), (150, 90, 80))
    z0, z1 = max(near, 1.0), far
    seed = rng.integers(2**32)

    def texture(width: float, scale: float) -> tuple[np.ndarray, None]:
        return _facade(style, width, height, scale, light, np.random.default_rng(seed)), None

    def draw(canvas: Canvas) -> None:
        if gable:
            middle = (x + back) / 2
            ridge = height + gable
            canvas.polygon(
                [[x, height, z0], [x, height, z1], [middle, ridge, z1], [middle, ridge, z0]],
                roof,
                TrainId.BUILDING,
                (-side.sign * 0.5, 0.8, 0.0),
            )
        front = [[x, height, z0], [back, height, z0], [back, 0, z0], [x, 0, z0]]
        toward = (0, 0, -1)
        if attached:
            canvas.polygon(front, style.color * 0.95, TrainId.BUILDING, toward)
        else:
            canvas.face(front, lambda: texture(depth, _detail(z0, x)), TrainId.BUILDING, toward)
        if gable:
            canvas.polygon(
                [[x, height, z0], [back, height, z0], [middle, ridge, z0]],
                style.color * 0.95,
                TrainId.BUILDING,
                toward,
            )
        long = [[x, height, z0], [x, height, z1], [x, 0, z1], [x, 0, z0]]
        inward = (-side.sign, 0, 0)
        canvas.face(long, lambda: texture(far - z0, _detail(far, x)), TrainId.BUILDING, inward)

    footprint = np.array([[x, near], [back, near], [back, far], [x, far]])
    return Thing(near, footprint, height, draw)


def wall(side: Side, near: float, far: float, rng: np.random.Generator) -> Thing:
    """A wall of concrete or bricks on the frontage."""
    height = rng.uniform(1.2, 3.2)
    color = WALL_COLORS[rng.integers(len(WALL_COLORS))] * rng.uniform(0.7, 1.1)
    x, z0 = side.frontage * side.sign, max(near, 1.0)
    scale = _detail(far, x)
    rows, columns = max(4, round(height * scale)), max(4, round((far - near) * scale))
    image = np.empty((rows, columns, 3), np.uint8)
    image[:] = np.clip(color, 0, 255)
    course = max(3, round((0.25 if rng.random() < 0.5 else 1.0) * scale))
    image[::course] = np.clip(color * 0.75, 0, 255)
    image[:, :: course * 3] = np.clip(color * 0.8, 0, 255)
    image[: max(1, round(0.15 * scale))] = np.clip(color * 1.15, 0, 255)
    image = cv2.multiply(
        image, cv2.merge([noise.crop(rng, rows, columns, 16) // 2 + 64] * 3), scale=1 / 128
    )

    def draw(canvas: Canvas) -> None:
        front = [[x, height, z0], [x + side.sign * 0.4, height, z0]]
        front += [[x + side.sign * 0.4, 0, z0], [x, 0, z0]]
        canvas.polygon(front, color * 0.9, TrainId.WALL, (0, 0, -1))
        long = [[x, height, z0], [x, height, far], [x, 0, far], [x, 0, z0]]
        canvas.face(long, lambda: (image, None), TrainId.WALL, (-side.sign, 0, 0))

    return Thing(near, np.array([[x, near], [x, far]]), height, draw)


def fence(x: float, sign: int, near: float, far: float, rng: np.random.Generator) -> Thing:
    """A fence of bars or boards along the street at ``x``; one sees through between the bars."""
    height = rng.uniform(0.9, 2.0)
    color = rng.uniform(40, 200) + rng.uniform(-15, 15, 3)
    z0 = max(near, 1.0)
    scale = _detail(far, x)
    rows, columns = max(8, round(height * scale)), max(8, round((far - near) * scale))
    image = np.empty((rows, columns, 3), np.uint8)
    image[:] = np.clip(color, 0, 255)
    pitch = max(3, round(rng.uniform(0.15, 0.35) * scale))
    gap = rng.integers(1, pitch)
    alpha = np.full((rows, columns), 255, np.uint8)
    alpha[:, np.arange(columns) % pitch < gap] = 0
    image[:, np.arange(columns) % pitch == gap] = np.clip(color * 0.7, 0, 255)
    bar = max(1, rows // 14)
    for row in (rows // 10, rows - rows // 6):
        alpha[row : row + bar] = 255
    alpha[:, np.arange(columns) % (pitch * 8) < max(1, pitch // 2)] = 255

    def draw(canvas: Canvas) -> None:
        long = [[x, height, z0], [x, height, far], [x, 0, far], [x, 0, z0]]
        canvas.face(long, lambda: (image, alpha), TrainId.FENCE, (-sign, 0, 0))

    return Thing(near, np.array([[x, near], [x, far]]), height * 0.5, draw)


def frontages(street: Street, light: Light, rng: np.random.Generator) -> list[Thing]:
    """What lines both sides of the street, far to near."""
    things = []
    for side in street.sides:
        z = rng.uniform(-8, 1)
        weights = np.array([1.0 - 0.7 * street.green, 0.18, 0.18, 0.1 + 0.5 * street.green])
        attached = False
        while z < 160:
            length = rng.uniform(8, 22)
            end = z + length
            if street.crossing is not None and z < street.crossing[1] and end > street.crossing[0]:
                end = street.crossing[0] - 1.0
                if end - z < 3:
                    z = street.crossing[1] + rng.uniform(2, 4)
                    attached = False
                    continue
            kind = rng.choice(4, p=weights / weights.sum())
            if kind == 0:
                things.append(building(side, z, end, 0.0, attached, light, rng))
            else:
                things += _open_ground(side, z, end, int(kind), street.green, light, rng)
            gap = rng.uniform(1, 5) if rng.random() < 0.25 else 0.0
            attached = kind == 0 and gap == 0
            z = end + gap
    return sorted(things, key=lambda thing: -thing.z)


def _open_ground(
    side: Side,
    near: float,
    far: float,
    kind: int,
    green: float,
    light: Light,
    rng: np.random.Generator,
) -> list[Thing]:
    """A wall (1), a fence (2) or a hedge (3) with a building or trees behind; far to near."""
    if far < 2:
        return []
    behind = []
    if rng.random() < 0.75 - 0.5 * green:
        behind.append(building(side, near, far, rng.uniform(4, 8), False, light, rng))
    else:
        for z in np.arange(far - 1, max(near, 2), -rng.uniform(3, 7)):
            x = side.sign * (side.frontage + rng.uniform(2, 7))
            behind.append(tree(x, z, rng.uniform(4, 11), light, rng))
    if kind == 1:
        return [*behind, wall(side, near, far, rng)]
    if kind == 2:
        return [*behind, fence(side.frontage * side.sign, side.sign, near, far, rng)]
    return [*behind, hedge(side, near, far, light, rng)]


def _detail(z: float, x: float) -> float:
    """Texture pixels per meter that suit a facade at ``x`` that ends at distance ``z``."""
    return float(np.clip(400 / max(z, 2 * abs(x)), 4, 16))
