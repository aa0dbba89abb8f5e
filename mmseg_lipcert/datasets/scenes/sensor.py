"""From surface colors to a photograph: texture, haze, exposure, lamps, blur and noise."""

import cv2
import numpy as np

from . import noise
from .canvas import Canvas
from .classes import TrainId

# Relative contrast of the surface of each class (index: train id), where it is not drawn.
CONTRAST = np.zeros(256, np.float32)
CONTRAST[[TrainId.VEGETATION, TrainId.TERRAIN]] = 0.32, 0.2
CONTRAST[[TrainId.BUILDING, TrainId.WALL, TrainId.FENCE]] = 0.06, 0.08, 0.06
CONTRAST[[TrainId.ROAD, TrainId.SIDEWALK]] = 0.03, 0.04
CONTRAST[[TrainId.PERSON, TrainId.RIDER]] = 0.1


def photograph(
    canvas: Canvas, factor: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Develop a canvas that is ``factor`` times as large as the picture.

    Returns:
        The image (H, W, 3) uint8 RGB and the labels (H, W) uint8.
    """
    light = canvas.light
    height, width = (side // factor for side in canvas.labels.shape)
    size = (width, height)
    # The center of each block; an average of labels would be no label.
    labels = np.ascontiguousarray(canvas.labels[factor // 2 :: factor, factor // 2 :: factor])
    depth = canvas.depth[factor // 2 :: factor, factor // 2 :: factor]
    image = cv2.resize(canvas.rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32)

    grain = noise.crop(rng, height, width, 4).astype(np.float32) - 128
    gain = 1 + CONTRAST[labels] * grain / 40
    clear = np.exp(-depth * np.float32(light.haze))
    haze = light.sky_horizon.astype(np.float32)
    image *= (gain * clear)[..., None]
    image += (1 - clear)[..., None] * haze
    image *= light.exposure.astype(np.float32)
    if light.lamps:
        glow = cv2.resize(canvas.glow, size, interpolation=cv2.INTER_AREA)
        halo = cv2.GaussianBlur(glow, (0, 0), height / 50)
        image += glow
        image += halo * np.float32(1.5)

    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    image *= (1 - np.float32(rng.uniform(0, 0.12)) * (x * x + y * y))[..., None]
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 0.75) * height / 256)
    # Contrast of the camera's tone curve, around middle gray.
    image = (
        110 + (image - 110) * np.float32(rng.uniform(0.85, 1.15)) + np.float32(rng.uniform(-8, 8))
    )
    read, shot = rng.uniform(0.8, 3.0), rng.uniform(0.05, 0.25)
    spread = np.sqrt(read**2 + shot * np.clip(image, 0, 255))
    image += spread * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), labels
