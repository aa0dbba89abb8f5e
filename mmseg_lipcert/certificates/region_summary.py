"""From the regions of all images to figures per class, and of the objects that matter."""

import math
from collections.abc import Sequence

import numpy as np

from .metrics import defined_mean
from .records import FabricationRecord, LossEntry, RegionSummary


def _radii(values: Sequence[float]) -> dict[str, float]:
    """Median and smallest of some radii, NaN without any; half of them may be infinite."""
    return {
        "median_radius": float(np.median(values)) if values else math.nan,
        "smallest_radius": min(values, default=math.nan),
    }


def detected_objects(radii: Sequence[float], eps: float = 0.0) -> int:
    """How many objects of these radii no perturbation of norm ``eps`` makes vanish."""
    return sum(radius > eps for radius in radii)


def region_summary(entries: Sequence[LossEntry]) -> RegionSummary:
    """Regions and inventions of a dataset per class, from the entries of its images.

    Args:
        entries: Of ``image_entry``.

    Returns:
        A dictionary with

        - ``regions``: per class, ``{"class", "count", "erased_free", "median_radius",
          "smallest_radius", "detected"}`` over the components of all images; ``erased_free`` counts
          those of radius 0, which have vanished without any attack; ``detected`` counts, per eps,
          those that cannot vanish;
        - ``fabrication``: per class of the query, ``{"class", "pixels", "median_radius",
          "smallest_radius", "clean", "certified"}`` over the images, where ``clean`` and (per eps)
          ``certified`` hold ``false_alarms``, how many an image has at most, as the mean over the
          images with a valid pixel, and ``alarm_free``, the share of them that have none.

        Each is None when an image has none, because its logits are not one per label pixel: a
        summary of the other images would pass for one of the dataset.
    """
    regions = fabrication = None
    objects = [entry["regions"] for entry in entries]
    inventions = [entry["fabrication"] for entry in entries]
    norms, labeled = entries[0]["eps"], [entry for entry in entries if entry["valid"]]
    if None not in objects:
        regions = []
        for c in range(len(entries[0]["gt_area"])):
            radii = [r["radius"] for rows in objects for r in rows or () if r["class"] == c]
            found = detected_objects(radii)
            regions.append(
                {
                    "class": c,
                    "count": len(radii),
                    "erased_free": len(radii) - found,
                    **_radii(radii),
                    "detected": [detected_objects(radii, eps) for eps in norms],
                }
            )
    if None not in inventions:
        fabrication = []
        for n, first in enumerate(inventions[0] or ()):
            rows = [(entry["fabrication"] or [])[n] for entry in labeled]
            fabrication.append(
                {
                    "class": first["class"],
                    "pixels": first["pixels"],
                    **_radii([row["radius"] for row in rows]),
                    "clean": _alarms(rows),
                    "certified": [_alarms(rows, i) for i in range(len(norms))],
                }
            )
    return {"regions": regions, "fabrication": fabrication}


def _alarms(rows: Sequence[FabricationRecord], index: int | None = None) -> dict[str, float]:
    counts = [_most(row, index) for row in rows]
    return {
        "false_alarms": defined_mean(counts),
        "alarm_free": defined_mean([float(count == 0) for count in counts]),
    }


def _most(row: FabricationRecord, index: int | None) -> int:
    """False alarms of an image at an eps, or without attack."""
    return row["alarms"] + (0 if index is None else row["invented"][index])


def object_figures(
    entries: Sequence[LossEntry], summary: RegionSummary, index: int | None = None
) -> dict[str, float]:
    """Figures over all classes whose objects matter; empty without any.

    Args:
        entries: Of ``image_entry``.
        summary: Of ``region_summary``.
        index: Of an eps; None: without attack.

    Returns:
        ``detection``: the share of the objects that are detected; NaN without an object.
        ``alarm_free``: the share of the images without false alarm of any of the classes; images
        without a valid pixel do not count.
    """
    if not summary["regions"] or not summary["fabrication"]:
        return {}
    wanted = {row["class"] for row in summary["fabrication"]}
    rows = [row for row in summary["regions"] if row["class"] in wanted]
    found = sum(
        row["count"] - row["erased_free"] if index is None else row["detected"][index]
        for row in rows
    )
    count = sum(row["count"] for row in rows)
    free = [
        not any(_most(row, index) for row in entry["fabrication"] or ())
        for entry in entries
        if entry["valid"]
    ]
    return {
        "detection": found / count if count else math.nan,
        "alarm_free": defined_mean([float(one) for one in free]),
    }
