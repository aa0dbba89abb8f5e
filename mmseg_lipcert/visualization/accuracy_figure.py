"""One picture per dataset: how much of the accuracy is certified at which radius."""

from __future__ import annotations

import os
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..utils.rounding import confidence
from .save_figure import save_figure


def save_accuracy_figure(path: str | os.PathLike[str], certificate: dict[str, Any]) -> None:
    """Save certified pixel accuracy against the norm of the perturbation.

    Args:
        path: PNG to write; its folder is made if needed.
        certificate: Of a smoothed segmentor: ``accuracy_curve`` (from confidence intervals of every
            pixel), ``certified`` (tested radii) and ``clean``.
    """
    figure = Figure(figsize=(7, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    curve = certificate["accuracy_curve"]
    correction = certificate["smoothing"]["correction"]
    sure = confidence(certificate["smoothing"]["alpha"])
    shown = [point for point in curve if point["pixel_accuracy"] > 0] or curve[:1]
    axis.step(
        [point["radius"] for point in shown],
        [point["pixel_accuracy"] for point in shown],
        where="pre",
        label=f"certified for every radius at once: {sure} per image",
    )
    axis.plot(
        [row["eps"] for row in certificate["certified"]],
        [row["pixel_accuracy"] for row in certificate["certified"]],
        "ko",
        label=f"tested ({correction}): {sure}{'' if correction == 'metric' else ' per image'}",
    )
    clean = certificate["clean"]["pixel_accuracy"]
    axis.axhline(clean, color="gray", linestyle="--", label="clean image, no noise")
    axis.set_ylim(0, 1)
    axis.set_xlim(left=0)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.set_xlabel("l2 norm of the perturbation (image in [0, 1])")
    axis.set_ylabel("pixel accuracy, mean over images")
    axis.set_title(
        f"Guaranteed with the probabilities below, sigma {certificate['smoothing']['sigma']:g}"
    )
    axis.grid(True, alpha=0.3)
    axis.legend()
    save_figure(figure, path)
