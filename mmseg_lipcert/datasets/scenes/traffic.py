"""Who and what is on the street."""

from collections.abc import Callable

import numpy as np

from . import vehicles
from .cycles import cycle
from .furniture import (
    bin_or_box,
    street_lamp,
    traffic_light,
    traffic_sign,
)
from .light import Light
from .people import person
from .plants import tree
from .street import Side, Street
from .thing import Thing

VEHICLES = (vehicles.car, vehicles.truck, vehicles.bus)


def things_on(street: Street, light: Light, rng: np.random.Generator) -> list[Thing]:
    """Everything that moves or stands between the frontages, far to near."""
    things = []
    busy = rng.uniform(0.2, 1.0)
    things += _lane(0.0, 0, rng.uniform(7, 40), busy, rng)
    if street.tram is not None and rng.random() < 0.85:
        heading = 0 if rng.random() < 0.5 else 180
        things.append(vehicles.train(street.tram, rng.uniform(9, 35), heading, rng))
    for side in street.sides:
        heading = 180 if side.sign < 0 else 0
        for center in side.lanes:
            x = center * side.sign
            if x != street.tram:
                things += _lane(x, heading, rng.uniform(5, 40), busy, rng)
        things += _roadside(side, street, busy, light, rng)
    if street.crossing is not None:
        things += _crossing_traffic(street, busy, rng)
    return sorted(things, key=lambda thing: -thing.z)


def _lane(
    x: float, heading: int, start: float, busy: float, rng: np.random.Generator
) -> list[Thing]:
    """Vehicles one behind the other in the lane at ``x``."""
    things, z = [], start
    while z < 110:
        kind = rng.choice(4, p=(0.72, 0.11, 0.09, 0.08))
        across = x + rng.uniform(-0.3, 0.3)
        if kind < 3:
            thing = VEHICLES[kind](across, z, heading, rng)
        else:
            angle = np.radians(heading + rng.uniform(-12, 12))
            thing = cycle(across, z, angle, bool(rng.random() < 0.7), True, rng)
        things.append(thing)
        z = thing.footprint[:, 1].max() + rng.uniform(3, 10) / busy
    return things


def _roadside(
    side: Side, street: Street, busy: float, light: Light, rng: np.random.Generator
) -> list[Thing]:
    """Parked vehicles, trees, poles and people on one side."""
    things = []

    def clear(z: float) -> bool:
        return street.crossing is None or not street.crossing[0] - 4 < z < street.crossing[1]

    if side.parking is not None:
        z = rng.uniform(3.5, 12)
        while z < 90:
            heading = 0 if rng.random() < 0.8 else 180
            kind = vehicles.truck if rng.random() < 0.06 else vehicles.car
            thing = kind(side.parking * side.sign, z, heading, rng)
            end = thing.footprint[:, 1].max()
            if rng.random() < 0.7 and clear(z) and clear(end):
                things.append(thing)
            z = end + rng.uniform(0.6, 3)
    edge = side.sign * (side.verge + 0.35)
    z = rng.uniform(5, 20)
    while z < 120:
        if clear(z):
            choice = rng.random()
            if choice < 0.4:
                things.append(street_lamp(edge, z, side.sign, rng))
            elif choice < 0.75:
                things.append(traffic_sign(edge, z, rng))
            else:
                things.append(traffic_light(edge, z, rng))
        z += rng.uniform(5, 18)
    if street.crossing is not None:
        things.append(traffic_light(edge, street.crossing[0] - 4.3, rng))
        if rng.random() < 0.5:
            things.append(traffic_light(edge, street.crossing[1] + 0.5, rng))
    if rng.random() < 0.2 + 0.6 * street.green:
        gap = rng.uniform(6, 14)
        for z in np.arange(rng.uniform(5, 20), 120, gap):
            if clear(z) and rng.random() < 0.8:
                things.append(tree(edge + 0.3 * side.sign, z, rng.uniform(4, 9), light, rng))
    things += _on_sidewalk(side, busy, clear, rng)
    return things


def _on_sidewalk(
    side: Side, busy: float, clear: Callable[[float], bool], rng: np.random.Generator
) -> list[Thing]:
    things = []

    def spot() -> tuple[float, float]:
        x = side.sign * rng.uniform(side.verge + 0.6, side.sidewalk - 0.3)
        return x, 4 + 60 * rng.random() ** 1.5

    for _ in range(rng.poisson(7 * busy)):
        x, z = spot()
        for _ in range(1 + int(rng.random() < 0.35)):
            things.append(person(x, z, rng))
            x, z = x + rng.uniform(0.5, 0.8), z + rng.uniform(-0.4, 0.4)
    for _ in range(rng.poisson(1.5)):
        x, z = spot()
        angle = rng.uniform(0, 2 * np.pi)
        motor = bool(rng.random() < 0.4)
        for _ in range(rng.integers(1, 4)):
            if clear(z):
                things.append(cycle(x, z, angle + rng.uniform(-0.2, 0.2), motor, False, rng))
            z += rng.uniform(0.7, 1.3)
    if rng.random() < 0.5:
        x, z = spot()
        things.append(
            cycle(x, z, rng.choice((0, np.pi)) + rng.uniform(-0.4, 0.4), False, True, rng)
        )
    for _ in range(rng.poisson(0.5)):
        things.append(bin_or_box(*spot(), rng))
    return things


def _crossing_traffic(street: Street, busy: float, rng: np.random.Generator) -> list[Thing]:
    near, far = street.crossing
    left, right = -street.sides[0].road, street.sides[1].road
    things = []
    for share, heading in ((0.25, 90), (0.75, 270)):
        if rng.random() < 0.5 * busy:
            kind = VEHICLES[rng.choice(3, p=(0.75, 0.13, 0.12))]
            x = rng.uniform(left + 2, right - 2)
            things.append(kind(x, near + share * (far - near), heading, rng))
    for _ in range(rng.poisson(2 * busy)):
        things.append(person(rng.uniform(left, right), near - rng.uniform(1.2, 3.8), rng))
    if rng.random() < 0.4:
        x, angle = rng.uniform(left, right), rng.choice((np.pi / 2, -np.pi / 2))
        motor = bool(rng.random() < 0.3)
        things.append(cycle(x, near - rng.uniform(0.3, 1.0), angle, motor, True, rng))
    return things
