"""One picture of several certificates: certified accuracy against the norm of the perturbation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from .object_figure import COLORS
from .save_figure import save_figure

# Where one certificate ends before this share of another's norms, small norms need more room.
_CROWDED = 0.25


def certified_steps(certificate: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Norms from 0 up to the largest certified one, and what is guaranteed up to each.

    What holds at a norm holds for every smaller one. Lipschitz certificates begin with the clean
    accuracy; smoothed segmentors with what is certified at their first radius, because abstentions
    count as wrong at norm 0, too.

    Args:
        certificate: Content of certificate.json.

    Returns:
        Two arrays of the same length, for a step function that jumps behind each norm.
    """
    known = {row["eps"]: row["pixel_accuracy"] for row in certificate["certified"]}
    if certificate["smoothing"]:
        known[0.0] = known[min(known)]
    else:
        # Without a curve, of an earlier version, there are the clean and the tested values.
        known[0.0] = certificate["clean"]["pixel_accuracy"]
        known |= {p["radius"]: p["pixel_accuracy"] for p in certificate["accuracy_curve"] or ()}
    norms = sorted(known)
    return np.array(norms), np.array([known[norm] for norm in norms])


def save_comparison_figure(
    path: str | os.PathLike[str],
    certificates: Mapping[str, Mapping[str, Any]],
    title: str,
) -> None:
    """Save the certified pixel accuracy of several certificates in one panel.

    A line ends where nothing more was certified. Tested norms are marked; the dashed line of a
    smoothed segmentor is its radius map, a statement of its own. Rings at norm 0 are measured.

    Args:
        path: PNG to write; its folder is made if needed.
        certificates: Contents of certificate.json, by what the legend calls them.
        title: Line above the panel.
    """
    figure = Figure(figsize=(8, 5), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    ends = []
    for number, (name, certificate) in enumerate(certificates.items()):
        color = COLORS[number % len(COLORS)]
        norms, accuracies = certified_steps(certificate)
        axis.step(norms, accuracies, where="pre", color=color, linewidth=2.2, label=name)
        rows = certificate["certified"]
        tested = [row["eps"] for row in rows], [row["pixel_accuracy"] for row in rows]
        axis.plot(*tested, "o", color=color, markersize=5)
        ends.append(norms[-1])
        measured = certificate["clean"]
        if certificate["smoothing"]:
            measured = certificate["smoothing"]["smoothed"]
            curve = [p for p in certificate["accuracy_curve"] if p["pixel_accuracy"] > 0]
            radii = [point["radius"] for point in curve]
            values = [point["pixel_accuracy"] for point in curve]
            axis.step(radii, values, where="pre", color=color, linestyle="--", linewidth=1)
            ends += radii[-1:]
        axis.plot(
            0, measured["pixel_accuracy"], "o", color=color, fillstyle="none", markersize=10,
            clip_on=False,
        )  # fmt: skip
    high = max(ends)
    scale = ""
    if 0 < min(ends) < _CROWDED * high:
        scale = ", square-root scale"
        axis.set_xscale("function", functions=(_root, np.square))
    axis.set_xlim(0, 1.02 * high if high else 1)
    axis.set_ylim(0, 1)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.set_xlabel(f"l2 norm of the perturbation (image in [0, 1]{scale})")
    axis.set_ylabel("certified pixel accuracy")
    axis.set_title(title)
    axis.grid(True, alpha=0.3)
    marker, ring = (Line2D([], [], color="gray", linestyle="none", marker="o") for _ in range(2))
    marker.set_label("certified norm")
    ring.set(label="measured at 0", fillstyle="none", markersize=9)
    handles = [*axis.get_legend_handles_labels()[0], marker, ring]
    if any(certificate["smoothing"] for certificate in certificates.values()):
        handles.append(Line2D([], [], color="gray", linestyle="--", label="radius map"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    save_figure(figure, path)


def _root(norms: np.ndarray) -> np.ndarray:
    """Square roots; Matplotlib asks for negative norms too, which are never shown."""
    return np.sqrt(np.maximum(norms, 0.0))
