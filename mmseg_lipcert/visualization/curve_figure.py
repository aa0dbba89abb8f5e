"""One picture per dataset: how large a perturbation must be to change a share of an image."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, PercentFormatter

from .save_figure import save_figure


def save_curve_figure(
    path: str | os.PathLike[str],
    curves: Sequence[Sequence[dict]],
    mean: Sequence[dict],
) -> None:
    """Save the budget against the share of pixels that it can change, per image and on average.

    Args:
        path: PNG to write; its folder is made if needed.
        curves: Per image, ``{"share", "radius"}`` points; a radius may be None (an image without a
            valid pixel) or infinite (so many pixels can never change): such points are left out.
        mean: The same for the dataset: the mean of the images' radii at every share.
    """
    figure = Figure(figsize=(7, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for number, curve in enumerate(curves):
        label = f"each of {len(curves)} images" if number == 0 else None
        style = dict(color="tab:blue", alpha=0.4, linewidth=0.8, marker=".", markersize=3)
        (line,) = axis.plot(*_points(curve), label=label)
        line.set(**style)
    axis.plot(
        *_points(mean), color="black", linewidth=2.5, marker="o", label="mean radius of the images"
    )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_yticks([point["share"] for point in mean], minor=False)
    axis.set_yticks([], minor=True)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.set_xlabel("l2 norm of the perturbation (image in [0, 1])")
    axis.set_ylabel("share of the pixels of an image")
    # The lines between the points guarantee nothing, and a mean guarantees nothing for one image.
    axis.set_title(
        "No perturbation below the norm of an image's point\n"
        "changes its share of the image's predictions"
    )
    axis.grid(True, which="both", alpha=0.3)
    axis.legend(loc="upper left")
    save_figure(figure, path)


def _points(curve: Sequence[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Radii and shares of the points that a logarithmic axis can show."""
    kept = [
        (point["radius"], point["share"])
        for point in curve
        if point["radius"] is not None and 0 < point["radius"] < math.inf
    ]
    radii, shares = np.array(kept, dtype=float).reshape(-1, 2).T
    return radii, shares
