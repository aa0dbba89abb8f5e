"""Weather and time of day of a scene."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Light:
    """Illumination of a scene; colors are RGB in 0..255.

    Attributes:
        sun: Unit vector towards the sun (X right, Y up, Z forward).
        direct: Strength of the sun on a surface that faces it.
        ambient: Strength of the light from everywhere.
        sky_top: Color of the sky at the zenith.
        sky_horizon: Color of the sky at the horizon, and of haze.
        clouds: How far clouds change the sky, 0..1.
        haze: Extinction per meter.
        exposure: Factor per RGB channel on all that is lit.
        lamps: Whether head lights, street lamps and some windows are on.
    """

    sun: np.ndarray
    direct: float
    ambient: float
    sky_top: np.ndarray
    sky_horizon: np.ndarray
    clouds: float
    haze: float
    exposure: np.ndarray
    lamps: bool

    def shade(self, normal: tuple[float, float, float]) -> float:
        """Brightness factor of a surface with the unit ``normal``."""
        x, y, z = normal
        towards = float(self.sun[0]) * x + float(self.sun[1]) * y + float(self.sun[2]) * z
        return self.ambient + self.direct * max(0.0, towards)


def sample_light(rng: np.random.Generator) -> Light:
    """Draw clear (45%), overcast (30%), hazy (10%) weather or dusk (15%)."""
    kind = rng.choice(4, p=(0.45, 0.3, 0.1, 0.15))
    elevation = np.radians(rng.uniform(15, 70))
    azimuth = rng.uniform(-np.pi, np.pi)
    sun = np.array(
        [
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
            np.cos(elevation) * np.cos(azimuth),
        ]
    )
    # A low sun is warm.
    warmth = rng.uniform(-0.06, 0.06) + max(0.0, 0.12 - 0.25 * float(sun[1]))
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    if kind == 0:
        return Light(
            sun=sun,
            direct=rng.uniform(0.4, 0.65),
            ambient=rng.uniform(0.5, 0.65),
            sky_top=np.array([75, 120, 190]) + rng.uniform(-25, 25, 3),
            sky_horizon=np.array([195, 210, 225]) + rng.uniform(-20, 20, 3),
            clouds=rng.uniform(0.0, 0.8),
            haze=1 / rng.uniform(400, 1500),
            exposure=rng.uniform(0.85, 1.25) * tint,
            lamps=False,
        )
    if kind in (1, 2):
        gray = rng.uniform(170, 240)
        return Light(
            sun=sun,
            direct=rng.uniform(0.0, 0.12),
            ambient=rng.uniform(0.75, 0.95),
            sky_top=gray + rng.uniform(-15, 15, 3),
            sky_horizon=gray + rng.uniform(-8, 15) + rng.uniform(-5, 5, 3),
            clouds=rng.uniform(0.05, 0.4),
            haze=1 / (rng.uniform(60, 150) if kind == 2 else rng.uniform(300, 900)),
            exposure=rng.uniform(0.7, 1.1) * tint,
            lamps=False,
        )
    return Light(
        sun=sun,
        direct=rng.uniform(0.0, 0.1),
        ambient=rng.uniform(0.8, 0.95),
        sky_top=np.array([60, 75, 120]) + rng.uniform(-20, 20, 3),
        sky_horizon=np.array([215, 170, 140]) + rng.uniform(-30, 30, 3),
        clouds=rng.uniform(0.1, 0.7),
        haze=1 / rng.uniform(250, 900),
        exposure=rng.uniform(0.32, 0.6) * tint * np.array([0.95, 0.97, 1.1]),
        lamps=True,
    )
