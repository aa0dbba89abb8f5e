"""Drawing of street scenes: world, painter and camera, in NumPy and OpenCV only."""

from .classes import TrainId
from .scene import render_scene

__all__ = ["TrainId", "render_scene"]
