"""One picture per dataset: which share of its objects cannot vanish, and where none is invented."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .save_figure import save_figure

#: Colors that color-blind readers can tell apart, in turns.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def save_object_figure(
    path: str | os.PathLike[str],
    objects: Mapping[str, Sequence[float]],
    images: Mapping[str, Sequence[float]],
    eps: Sequence[float],
) -> None:
    """Save the certified detection rate and the share of images in which nothing is invented.

    Both are shares of radii above a norm, so that the steps are exact at every norm.

    Args:
        path: PNG to write; its folder is made if needed.
        objects: Per class, radii below which its objects cannot vanish; 0 for missed ones.
        images: Per class, radii below which no object of it can be invented in an image.
        eps: Norms that the tables show; the axis ends behind the largest.
    """
    figure = Figure(figsize=(11, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    high = 1.2 * max([*eps, 0.01])
    panels = figure.subplots(1, 2, sharex=True)
    for axis, radii, what in zip(
        panels,
        (objects, images),
        ("objects that stay detected", "images in which no object can be invented"),
        strict=True,
    ):
        for number, (name, values) in enumerate(radii.items()):
            ordered = np.sort(np.asarray(values, dtype=float))
            norms = np.concatenate(([0.0], ordered[ordered < high], [high]))
            left = [(ordered > norm).mean() if len(ordered) else np.nan for norm in norms]
            label = f"{name} ({len(ordered)})"
            color = COLORS[number % len(COLORS)]
            axis.step(norms, left, where="post", label=label, color=color, linewidth=1.8)
        for norm in eps:
            axis.axvline(norm, color="0.8", linewidth=0.8, zorder=0)
        axis.set_ylim(-0.02, 1.02)
        axis.set_xlim(0, high)
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        axis.set_xlabel("l2 norm of the perturbation (image in [0, 1])")
        axis.set_title(what)
        axis.legend(loc="upper right")
    save_figure(figure, path)
