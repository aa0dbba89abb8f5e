"""Sky, clouds and what closes the street at its end."""

import cv2
import numpy as np

from . import noise
from .canvas import Canvas
from .classes import TrainId
from .street import FAR


def draw_sky(canvas: Canvas, rng: np.random.Generator) -> None:
    """Fill the canvas with sky, down to where the ground begins."""
    light, camera = canvas.light, canvas.camera
    height, width = canvas.labels.shape
    end = camera.cy + camera.focal * camera.height / FAR
    rows = int(np.clip(np.ceil(end) + 2, 1, height))
    # Smooth: drawn small, then enlarged.
    up = np.linspace(1, 0, 64)[:, None, None]
    sky = light.sky_top * up + light.sky_horizon * (1 - up)
    clouds = noise.crop(rng, 64, 128, 32)[..., None].astype(np.float32)
    cover = np.clip((clouds - 118) / 70, 0, 1) * light.clouds
    sky = sky + (np.minimum(light.sky_horizon * 1.12, 255) - sky) * cover
    small = np.clip(sky, 0, 255).astype(np.uint8)
    canvas.rgb[:rows] = cv2.resize(small, (width, rows), interpolation=cv2.INTER_LINEAR)
    canvas.labels[:rows] = TrainId.SKY


def draw_backdrop(canvas: Canvas, green: float, rng: np.random.Generator) -> None:
    """Houses and trees in the distance, across the whole view."""
    z = FAR * 0.9
    reach = z * canvas.labels.shape[1] / canvas.camera.focal
    x = -reach
    while x < reach:
        width = rng.uniform(10, 35)
        if rng.random() < 0.25 + 0.5 * green:
            color = rng.uniform((50, 70, 35), (90, 110, 60))
            for _ in range(4):
                center = np.array([x + rng.uniform(0, width), rng.uniform(2, 6), z])
                canvas.disk(center, rng.uniform(5, 11), color, TrainId.VEGETATION)
        else:
            top = rng.uniform(8, 30)
            color = rng.uniform(90, 190) + rng.uniform(-20, 20, 3)
            box = [[x, 0, z], [x + width, 0, z], [x + width, top, z], [x, top, z]]
            canvas.polygon(box, color, TrainId.BUILDING, (0, 0, -1))
        x += width * rng.uniform(0.6, 1.1)
