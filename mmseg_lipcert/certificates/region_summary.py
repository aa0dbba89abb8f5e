"""From the regions of all images to figures per class."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .records import ImageEntry


def _radii(values: Sequence[float]) -> dict[str, float]:
    """Median and smallest of some radii, NaN without any; half of them may be infinite."""
    return {
        "median_radius": float(np.median(values)) if values else math.nan,
        "smallest_radius": min(values, default=math.nan),
    }


def region_summary(entries: Sequence[ImageEntry]) -> dict[str, Any]:
    """Regions and inventions of a dataset per class, from the entries of its images.

    Args:
        entries: Of ``image_entry``.

    Returns:
        A dictionary with

        - ``regions``: per class, ``{"class", "count", "erased_free", "median_radius",
          "smallest_radius"}`` over the components of all images; ``erased_free`` counts those of
          radius 0, which have vanished without any attack;
        - ``fabrication``: per certified class, ``{"class", "pixels", "median_radius",
          "smallest_radius"}`` over the images.

        Each is None when an image has none, because its logits are not one per label pixel: a
        summary of the other images would pass for one of the dataset.
    """
    regions = fabrication = None
    objects = [entry["regions"] for entry in entries]
    inventions = [entry["fabrication"] for entry in entries]
    if None not in objects:
        regions = []
        for c in range(len(entries[0]["gt_area"])):
            radii = [r["radius"] for rows in objects for r in rows or () if r["class"] == c]
            erased = sum(radius == 0 for radius in radii)
            regions.append(
                {"class": c, "count": len(radii), "erased_free": erased, **_radii(radii)}
            )
    if None not in inventions:
        found: dict[tuple[int, int], list[float]] = {}
        for row in (row for rows in inventions for row in rows or ()):
            found.setdefault((row["class"], row["pixels"]), []).append(row["radius"])
        fabrication = [
            {"class": c, "pixels": pixels, **_radii(radii)} for (c, pixels), radii in found.items()
        ]
    return {"regions": regions, "fabrication": fabrication}
