"""The plan of a street: lanes, sidewalks, verges and a crossing."""

from dataclasses import dataclass

import numpy as np

FAR = 300.0  # meters to the end of the street


@dataclass(frozen=True)
class Side:
    """One side of the street, as distances from the camera's lane in meters.

    Attributes:
        sign: -1 for the left side, 1 for the right side.
        lanes: Centers of the driving lanes on this side of the camera's own.
        parking: Center of the parking lane, or None.
        road: Edge of the road.
        verge: Edge of the strip of grass between road and sidewalk (``road`` if there is none).
        sidewalk: Edge of the sidewalk.
        frontage: Where buildings, walls and fences stand; grass lies before it if it is farther
            away than ``sidewalk``.
    """

    sign: int
    lanes: tuple[float, ...]
    parking: float | None
    road: float
    verge: float
    sidewalk: float
    frontage: float


@dataclass(frozen=True)
class Street:
    """A straight street that the camera looks along.

    Attributes:
        sides: Left and right.
        lane_width: In meters.
        crossing: Near and far edge of a crossing street in meters, or None.
        tram: Center of a tram track in meters to the right of the camera, or None.
        green: How much grows here, 0..1.
    """

    sides: tuple[Side, Side]
    lane_width: float
    crossing: tuple[float, float] | None
    tram: float | None
    green: float


def sample_street(rng: np.random.Generator) -> Street:
    """Draw the plan of a street."""
    lane_width = rng.uniform(3.1, 3.8)
    green = rng.uniform(0, 1)
    sides = []
    for sign in (-1, 1):
        count = int(rng.integers(1, 3)) if sign < 0 else int(rng.integers(0, 2))
        lanes = tuple(lane_width * (i + 1) for i in range(count))
        edge = lane_width * (count + 0.5)
        parking = edge + 1.15 if rng.random() < 0.55 else None
        road = edge + (2.3 if parking else 0.3)
        verge = road + (rng.uniform(0.8, 2.2) if rng.random() < 0.4 * green else 0.0)
        sidewalk = verge + rng.uniform(2.2, 5.0)
        frontage = sidewalk + (rng.uniform(1, 8) if rng.random() < 0.2 + 0.6 * green else 0.0)
        sides.append(Side(sign, lanes, parking, road, verge, sidewalk, frontage))
    crossing = None
    if rng.random() < 0.45:
        near = rng.uniform(14, 45)
        crossing = (near, near + rng.uniform(7, 11))
    tram = -sides[0].lanes[-1] if rng.random() < 0.3 else None
    return Street((sides[0], sides[1]), lane_width, crossing, tram, green)
