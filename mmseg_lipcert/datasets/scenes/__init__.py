"""Drawing of street scenes: world, painter and camera, in NumPy and OpenCV only."""

from mmseg_lipcert.datasets.scenes.classes import TrainId
from mmseg_lipcert.datasets.scenes.scene import render_scene

__all__ = ["TrainId", "render_scene"]
