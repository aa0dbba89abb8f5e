"""One picture per certificate: what is guaranteed against perturbations of which size."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..certificates.metrics import METRICS

#: Metrics that are shown: color (distinct for color-blind readers too) and marker.
_STYLES = {
    "stability": ("#000000", "o"),
    "pixel_accuracy": ("#0072B2", "s"),
    "mIoU": ("#D55E00", "^"),
}


def guarantee_svg(certificate: dict[str, Any]) -> bytes:
    """Draw guaranteed figures against the norm of the perturbation, clean ones dotted.

    What holds at one norm holds for every smaller one: steps join the certified norms.

    Args:
        certificate: Content of certificate.json.

    Returns:
        SVG without references to anything outside; the same bytes for the same certificate.
    """
    rows = sorted(certificate["certified"], key=lambda row: row["eps"])
    norms = [0.0, *(row["eps"] for row in rows)]
    # A fixed salt, because ids inside the file are random otherwise.
    with matplotlib.rc_context({"svg.hashsalt": "certificate"}):
        figure = Figure(figsize=(7, 3.5), layout="constrained")
        FigureCanvasSVG(figure)
        axis = figure.subplots()
        for key, (color, marker) in _STYLES.items():
            label = METRICS[key].caption
            values = _numbers(rows[:1] + rows, key)
            axis.step(norms, values, where="pre", color=color, linewidth=1.6)
            axis.plot(norms[1:], values[1:], marker, color=color, label=f"{label}, guaranteed")
            if key != "stability":
                (clean,) = _numbers([certificate["clean"]], key)
                axis.axhline(clean, color=color, linestyle=":", label=f"{label}, no attack")
        if certificate["accuracy_curve"]:
            curve = certificate["accuracy_curve"]
            axis.step(
                [point["radius"] for point in curve],
                _numbers(curve, "pixel_accuracy"),
                where="pre",
                color="#0072B2",
                linestyle="--",
                linewidth=1,
                label="pixel accuracy, at every norm",
            )
        axis.set_ylim(0, 1.02)
        axis.set_xlim(left=0)
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        axis.set_xlabel("l2 norm of the perturbation (image in [0, 1])")
        axis.grid(True, alpha=0.3)
        figure.legend(loc="outside lower center", ncols=2, fontsize="small", frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _numbers(rows: list[dict[str, Any]], key: str) -> np.ndarray:
    """One figure of every row; undefined ones are NaN, which is not drawn."""
    return np.array([np.nan if row[key] is None else row[key] for row in rows], dtype=float)
