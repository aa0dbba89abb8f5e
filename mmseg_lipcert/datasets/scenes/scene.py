"""One street scene, from plan to photograph."""

import cv2
import numpy as np

from .camera import Camera
from .canvas import Canvas
from .classes import TrainId
from .facades import frontages
from .ground import draw_ground
from .light import sample_light
from .sensor import photograph
from .sky import draw_backdrop, draw_sky
from .street import sample_street
from .traffic import things_on

SUPERSAMPLING = 2


def render_scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw a random street scene.

    Args:
        rng: The only source of randomness.
        size: Height and width in pixels.

    Returns:
        The image (H, W, 3) uint8 RGB and its train ids (H, W) uint8.
    """
    height, width = (side * SUPERSAMPLING for side in size)
    camera = Camera(
        focal=height * rng.uniform(0.95, 1.2),
        cx=width * rng.uniform(0.42, 0.58),
        cy=height * rng.uniform(0.38, 0.5),
        height=rng.uniform(1.2, 1.75),
    )
    light, street = sample_light(rng), sample_street(rng)
    canvas = Canvas(height, width, camera, light)
    lining, things = frontages(street, light, rng), things_on(street, light, rng)
    draw_sky(canvas, rng)
    draw_backdrop(canvas, street.green, rng)
    draw_ground(canvas, street, lining + things, rng)
    # Frontages are behind everything on the street, whatever the distance along it.
    for thing in lining + things:
        thing.draw(canvas)
    if rng.random() < 0.75:
        _draw_hood(canvas, rng)
    return photograph(canvas, SUPERSAMPLING, rng)


def _draw_hood(canvas: Canvas, rng: np.random.Generator) -> None:
    """The hood of the camera's own car along the lower edge: void, as in Cityscapes."""
    height, width = canvas.labels.shape
    center = (int(width * rng.uniform(0.45, 0.55)), int(height * rng.uniform(1.05, 1.1)))
    axes = (int(width * rng.uniform(0.5, 0.7)), int(height * rng.uniform(0.1, 0.17)))
    color = rng.uniform(20, 150) + rng.uniform(-10, 10, 3)
    for shrink, tone in ((1.0, 0.75), (0.97, 1.0), (0.9, 1.1)):
        ring = (int(axes[0] * shrink), int(axes[1] * shrink))
        cv2.ellipse(canvas.rgb, center, ring, 0, 0, 360, (color * tone).tolist(), -1)
    cv2.ellipse(canvas.labels, center, axes, 0, 0, 360, int(TrainId.VOID), -1)
    cv2.ellipse(canvas.depth, center, axes, 0, 0, 360, 0.0, -1)
