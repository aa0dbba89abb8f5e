"""Pictures of an attack: between what is certified and what was broken lies the unknown."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, NullFormatter, PercentFormatter

from ..certificates.metrics import METRICS
from .save_figure import save_figure

_PANELS = ("pixel_accuracy", "mIoU")
_ATTACKED, _CERTIFIED = "tab:red", "tab:blue"


def save_attack_curve(path: str | os.PathLike[str], report: dict[str, Any]) -> None:
    """Save pixel accuracy and mIoU of the dataset against eps: clean, attacked, certified.

    Args:
        path: PNG to write; its folder is made if needed.
        report: Of :func:`mmseg_lipcert.report.attack_report.build_attack_report`.
    """
    rows = [row for row in report["results"] if row["eps"] > 0]
    eps = np.array([row["eps"] for row in rows])
    figure = Figure(figsize=(11, 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axis, key in zip(figure.subplots(1, 2), _PANELS, strict=True):
        axis.axhline(_number(report["clean"][key]), color="black", linestyle="--", label="clean")
        attacked = np.array([_number(row["attacked"][key]) for row in rows])
        axis.plot(eps, attacked, color=_ATTACKED, marker="o", label="attacked: reached")
        if rows and rows[0]["certified"]:
            certified = np.array([_number(row["certified"][key]) for row in rows])
            axis.plot(eps, certified, color=_CERTIFIED, marker="s", label="certified: never below")
            axis.fill_between(eps, certified, attacked, color="gray", alpha=0.2, label="unknown")
        axis.set_xscale("log")
        axis.set_xticks(eps)
        axis.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_ylim(0, 1)
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        axis.set_xlabel("l2 norm of the perturbation (image in [0, 1])")
        axis.set_title(f"{METRICS[key].title}, {report['images']} images")
        axis.grid(True, alpha=0.3)
    axis.legend(loc="best")
    save_figure(figure, path)


def save_attack_scatter(path: str | os.PathLike[str], report: dict[str, Any]) -> None:
    """Save the attacked pixel accuracy of each image against the certified one, per eps.

    A point below the diagonal refutes a certificate. Without certificates the horizontal axis is
    the clean accuracy.

    Args:
        path: PNG to write; its folder is made if needed.
        report: Of :func:`mmseg_lipcert.report.attack_report.build_attack_report`.
    """
    images = [row for row in report["per_image"] if row["clean"] is not None]
    certified = bool(images) and images[0]["certified"] is not None
    figure = Figure(figsize=(6.2, 5.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.fill_between([0, 1], [0, 1], color="tab:red", alpha=0.08)
    axis.plot([0, 1], [0, 1], color="gray", linewidth=1)
    markers = "osD^vP*X"
    for i, row in enumerate(report["results"]):
        across = [image["certified"][i] if certified else image["clean"] for image in images]
        axis.scatter(
            across,
            [image["attacked"][i] for image in images],
            s=28,
            alpha=0.7,
            marker=markers[i % len(markers)],
            label=f"eps = {row['eps']:g}",
        )
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_aspect("equal")
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_formatter(PercentFormatter(1.0))
    axis.set_xlabel("certified pixel accuracy" if certified else "clean pixel accuracy")
    axis.set_ylabel("attacked pixel accuracy")
    below = "a certificate is refuted" if certified else "the attack succeeds"
    axis.set_title(f"Each image, each eps; below the diagonal\n{below}")
    axis.grid(True, alpha=0.3)
    axis.legend(loc="upper left")
    save_figure(figure, path)


def _number(value: float | None) -> float:
    return np.nan if value is None else value
