"""One picture per explanation: what decides, and what would have to be different."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..utils.rounding import significant
from ..visualization.save_figure import save_figure

if TYPE_CHECKING:
    from .explanation import Explanation


def save_explanation_figure(
    path: str | os.PathLike[str], explanation: Explanation, palette: list[list[int]]
) -> None:
    """Save image with region, saliency, difference and counterfactual, above the labels of both.

    Args:
        path: PNG to write; its folder is made if needed.
        explanation: What is drawn.
        palette: RGB of each class, 0..255.
    """
    image, found = explanation.image, explanation.counterfactual
    colors = np.array([*palette, *np.zeros((256 - len(palette), 3))], dtype=np.uint8)
    difference = found - image
    largest = max(np.abs(difference).max(), 1e-6)
    height = 2 * 4.4 * image.shape[0] / image.shape[1]
    figure = Figure(figsize=(14, height + 1.6), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    panels = {
        "image, and what the question is about": image,
        "saliency: where the gradient is": explanation.saliency,
        "labels": colors[explanation.labels],
        "counterfactual": found,
        f"its difference, times {significant(0.5 / largest, 2)}": 0.5 + 0.5 * difference / largest,
        "labels of the counterfactual": colors[explanation.changed],
    }
    for axis, (title, picture) in zip(figure.subplots(2, 3).flat, panels.items(), strict=True):
        high = max(np.quantile(explanation.saliency, 0.999), 1e-12)
        style = dict(cmap="inferno", vmin=0, vmax=high) if picture.ndim == 2 else {}
        axis.imshow(picture, **style)
        if explanation.region.any() and not explanation.region.all():
            axis.contour(explanation.region, levels=[0.5], colors="white", linewidths=0.8)
        axis.set_title(title)
        axis.set_axis_off()
    figure.suptitle(
        f"{explanation.name}: {explanation.goal}\nfound at norm {explanation.norm:.4g}; "
        f"no image nearer than {significant(explanation.radius)} does it"
    )
    save_figure(figure, path)
