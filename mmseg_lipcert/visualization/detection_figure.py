"""One picture per image: which of its objects a detector is certain to find."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from ..utils.rounding import significant
from .save_figure import save_figure

_CERTIFIED, _FOUND, _MISSED, _BOX = "#009E73", "#F0E442", "#D55E00", "white"


def save_detection_figure(
    path: str | os.PathLike[str],
    image: np.ndarray,
    objects: Sequence[tuple[str, Sequence[float], bool, float]],
    boxes: np.ndarray,
    eps: float,
    title: str,
) -> None:
    """Save an image with its objects and the boxes that are found.

    Args:
        path: PNG to write; its folder is made if needed.
        image: RGB, shape (H, W, 3), uint8.
        objects: Per object the name of its class, its left, top, right and bottom edge, whether it
            is found, and the norm below which it is, 0 where nothing is certain.
        boxes: What is found (d, 4).
        eps: Norm of the perturbation under which an object counts as certified.
        title: First line.
    """
    figure = Figure(figsize=(11, 1.0 + 11 * image.shape[0] / image.shape[1]), dpi=100)
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.imshow(image)
    for box in boxes:
        axis.add_patch(_rectangle(box, _BOX, 1.0))
    for name, box, found, radius in objects:
        color = _CERTIFIED if radius > eps else _FOUND if found else _MISSED
        axis.add_patch(_rectangle(box, color, 2.5))
        axis.text(
            box[0],
            box[1] - 3,
            f"{name} {significant(radius, 2)}" if radius > 0 else name,
            color=color,
            fontsize=9,
            path_effects=[withStroke(linewidth=2, foreground="black")],
        )
    axis.set_axis_off()
    axis.set_title(title)
    names = {
        _CERTIFIED: f"found under every perturbation of l2 norm {significant(eps)}",
        _FOUND: "found, not certified",
        _MISSED: "missed",
        "0.7": "box of the detector",
    }
    handles = [Patch(color=color, label=name) for color, name in names.items()]
    figure.legend(handles=handles, loc="lower center", ncols=4, frameon=False)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.93, bottom=0.07)
    save_figure(figure, path)


def _rectangle(box: Sequence[float], color: str, width: float) -> Rectangle:
    left, top, right, bottom = box
    return Rectangle(
        (left - 0.5, top - 0.5), right - left, bottom - top, fill=False, color=color, lw=width
    )
