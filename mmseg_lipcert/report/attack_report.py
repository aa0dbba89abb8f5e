"""From the figures of an attacked dataset to the content of attack.json."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .attack_records import AttackedImage, AttackSummary, RegionAttack
from .certificate_file import environment, named_classes

#: JSON Schema of attack.json, version 1.
ATTACK_SCHEMA = Path(__file__).with_name("attack_report.schema.json")


def build_attack_report(
    summary: AttackSummary,
    lines: Sequence[AttackedImage],
    settings: dict[str, Any],
    classes: Sequence[str],
    model: dict[str, str],
) -> dict[str, Any]:
    """Assemble the result of an attack as ``attack_report.schema.json`` describes it.

    Args:
        summary: Of :func:`mmseg_lipcert.attacks.attack_summary`.
        lines: Of the images, with ``seconds``.
        settings: ``attacks``, ``steps``, ``clip``, ``seed``, and ``smoothing``: sigma, draws and
            votes of a smoothed model or None.
        classes: Class names.
        model: What was attacked: type, config, checkpoint, digest of the weights.

    Returns:
        The report; NaN and infinite values are written by ``certificate_json``.
    """
    certified = summary["certified"]
    rows = []
    for i, attacked in enumerate(summary["attacked"]):
        figures = {key: value for key, value in attacked.items() if key != "eps"}
        below = None
        if certified:
            # Objects are compared one by one, in "regions".
            below = named_classes({key: certified[i][key] for key in figures}, classes)
        rows.append(
            {
                "eps": attacked["eps"],
                "attacked": named_classes(figures, classes),
                "certified": below,
                "strongest": summary["strongest"][i],
            }
        )
    bounds = [line["certified"]["lipschitz"] for line in lines if line["certified"]]
    return {
        "schema": 1,
        "norm": "l2",
        "units": "[0,1] input pixels",
        "images": summary["images"],
        **settings,
        "lipschitz_bound": max(bounds) if bounds else None,
        "clean": named_classes(summary["clean"], classes),
        "results": rows,
        "per_image": [_image_row(line) for line in lines],
        "minimal": _minimal_rows(lines),
        "regions": _region_rows(lines, classes),
        "violations": [
            {"image": line["image"], **violation}
            for line in lines
            for violation in line["violations"]
        ],
        "cost": {"seconds_per_image": float(np.mean([line["seconds"] for line in lines]))},
        "model": model,
        "environment": environment(),
    }


def _image_row(line: AttackedImage) -> dict[str, Any]:
    """Pixel accuracy of one image: clean, and attacked and certified at each eps."""
    entry, valid = line["certified"], line["valid"]

    def share(correct: float) -> float | None:
        return correct / valid if valid else None

    attacked, fewest = [], line["clean"]["correct"]
    for found in line["attacks"]:
        fewest = min([fewest, *(counts["correct"] for counts in found)])
        attacked.append(share(fewest))
    return {
        "image": line["image"],
        "clean": share(line["clean"]["correct"]),
        "attacked": attacked,
        "certified": entry and [share(entry["correct"] - lost) for lost in entry["correct_lost"]],
    }


def _minimal_rows(lines: Sequence[AttackedImage]) -> list[dict[str, Any]]:
    """Per threshold: the norms that minimal-norm attacks found beside the certified radii."""
    rows = []
    for i, first in enumerate(lines[0]["minimal"]):
        points = [line["minimal"][i] for line in lines if line["minimal"][i]["norm"] is not None]
        norms = [point["norm"] for point in points if point["norm"] is not None]
        radii = [point["radius"] for point in points if point["radius"] is not None]
        rows.append(
            {
                "threshold": first["threshold"],
                "median_norm": float(np.median(norms)) if norms else math.nan,
                "median_radius": float(np.median(radii)) if radii else math.nan,
                "per_image": [{"image": line["image"], **line["minimal"][i]} for line in lines],
            }
        )
    return rows


def _region_rows(lines: Sequence[AttackedImage], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Per kind and class: norms that erase or invent an object, beside certified radii.

    At every eps: how many objects (images) an attack of this norm was not found for, and for how
    many of them there is none.
    """
    groups: dict[tuple[str, int], list[RegionAttack]] = {}
    for line in lines:
        for found in line["regions"]:
            groups.setdefault((found["kind"], found["class"]), []).append(found)
    rows = []
    for (kind, index), attacks in sorted(groups.items()):
        norms = [one["norm"] for one in attacks]
        radii = [one["radius"] for one in attacks if one["radius"] is not None]
        rows.append(
            {
                "kind": kind,
                "class": classes[index],
                "count": len(attacks),
                "median_norm": float(np.median(norms)),
                "median_radius": float(np.median(radii)) if radii else math.nan,
                "at_eps": [
                    {
                        "eps": eps,
                        "withstood": sum(norm > eps for norm in norms),
                        "certified": sum(radius > eps for radius in radii) if radii else None,
                    }
                    for eps in lines[0]["eps"]
                ],
            }
        )
    return rows
