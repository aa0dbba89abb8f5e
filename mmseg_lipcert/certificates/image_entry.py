"""Everything that one image contributes to a dataset's certificate, in a few kilobytes."""

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from torch import Tensor

from .budget import radius_of, squared_budget
from .cells import native_target
from .frontier import attack_frontier, frontier_hull, prune_outward
from .image_problem import ImageProblem, as_numbers
from .knapsack import ShareProblem
from .metrics import CLASS_METRICS, METRICS
from .objects import false_alarms
from .pixel_maps import PixelMaps
from .records import ImageEntry
from .region import RegionQuery
from .regions import certified_regions, curve_radii
from .validation import check_class_index, check_eps, check_lipschitz, check_share

#: Norms from 0 to the largest eps at which the accuracy curve is counted: dense near 0, where it
#: falls fastest.
CURVE_POINTS = 41


def _defined(value: float) -> float | None:
    """NaN as None, which JSON knows."""
    return None if math.isnan(value) else float(value)


def _class_entries(
    problem: ImageProblem, class_index: int, budgets: list[float], max_vertices: int
) -> list[dict[str, Any]]:
    """What attacks do to one class, for every budget."""
    limit = max(budgets)
    breakable = problem.true_positives(class_index, limit)
    makeable = problem.true_negatives(class_index, limit)
    groups = {"true_positives": breakable, "true_negatives": makeable}
    entries = []
    for budget in budgets:
        hull = frontier_hull(*attack_frontier(breakable, makeable, budget))
        pruned = prune_outward(*hull, max_vertices)
        vertices = np.stack(pruned, axis=1)
        entry: dict[str, Any] = {"frontier": [as_numbers(vertex) for vertex in vertices]}
        for metric in CLASS_METRICS:
            if metric.ratio:
                lowest = metric.ratio.lowest(*problem.terms(metric, class_index), *hull)
                entry[metric.name] = _defined(lowest)
            else:
                (entry[metric.lost],) = as_numbers([groups[metric.targets].gain(budget)])
        entries.append(entry)
    return entries


def _region_entries(
    maps: PixelMaps,
    num_classes: int,
    bound: float,
    budgets: Sequence[float],
    query: RegionQuery,
    ignore_index: int,
) -> dict[str, Any]:
    """What it takes to erase the objects of an image, and to invent some of chosen classes."""
    regions, _ = certified_regions(
        maps,
        bound,
        share=query.vanish_share,
        classes=[c for c in range(num_classes) if c != ignore_index],
        min_pixels=query.min_pixels,
    )
    fabrication = []
    for c in query.object_classes:
        check_class_index(c, num_classes, "object_classes")
        found = false_alarms(
            maps,
            c,
            budgets,
            bound,
            pixels=query.fabricate_pixels,
            distance=query.fabricate_distance,
            ignore_index=ignore_index,
        )
        fabrication.append({"class": c, "pixels": query.fabricate_pixels, **found._asdict()})
    return {
        "regions": [
            {
                "class": region.class_index,
                "pixels": region.pixels,
                "box": list(region.box),
                "detected": region.detected,
                "radius": region.radius,
            }
            for region in regions
        ],
        "fabrication": fabrication,
    }


def image_entry(
    logits: Tensor,
    target: Tensor,
    eps: float | Sequence[float],
    lipschitz: float,
    *,
    ignore_index: int = 255,
    weights: Tensor | None = None,
    classifier: Tensor | None = None,
    thresholds: Sequence[float] = (),
    shares: Sequence[float] = (),
    regions: RegionQuery | None = None,
    cells: tuple[Tensor, Tensor] | None = None,
    max_vertices: int = 64,
) -> ImageEntry:
    """All certificates of one image for all eps in one pass, as plain numbers and lists.

    The entries of a dataset give its figures by ``dataset_summary``. An entry is JSON-able: NaN is
    None, and a radius that no attack reaches is ``math.inf``. Its size is dominated by the
    frontiers: at most ``max_vertices`` pairs per class of the image and eps, one pair for a class
    that is not in the image; a hull with more vertices is enclosed in a larger one, which lowers
    the dataset's IoU and Dice, typically by a share of 1 / max_vertices**2 of their drop.

    Args:
        logits: ``(K, H, W)``, or ``(1, H, W)`` for a binary head.
        target: Labels ``(H, W)`` or label counts ``(classes, H, W)``; labels of the image's own
            size with ``cells``.
        eps: Norms of the perturbation, in [0, 1] pixel units.
        lipschitz: Joint Lipschitz bound of the map from image to logits (to features with
            ``classifier``).
        ignore_index: Label of the pixels that never count.
        weights: ``(H, W)`` image pixels that each logit pixel stands for.
        classifier: ``(K, C)`` weights of the last affine map, for costs in feature space.
        thresholds: Pixel accuracies in (0, 1] whose radius is wanted.
        shares: Shares of the valid pixels in (0, 1] for the curve of radius against share changed.
        regions: What to certify about the connected components of the labels. They are defined on
            label pixels: label counts or ``weights`` do not say which these are, and give none.
        cells: Logit row of each row of labels, and logit column of each column, where several
            share a logit. Defaults to None: one each.
        max_vertices: Largest number of vertices kept per frontier, at least 2.

    Returns:
        A dictionary with

        - ``eps``, ``lipschitz``: as given;
        - ``valid``, ``correct``: image pixels;
        - ``correct_lost``, ``stable_lost``: per eps, image pixels that can fall;
        - ``intersection``, ``gt_area``, ``pred_area``: per class, image pixels (confusion counts);
        - ``recall_lost``, ``specificity_lost``: per eps and class, image pixels that can fall;
        - ``iou``, ``dice``: per eps and class, this image's own certified value;
        - ``frontier``: per eps and class, the vertices [true positives lost, false positives made];
        - ``radius``: per threshold, ``{"threshold", "value"}`` for pixel accuracy;
        - ``accuracy_curve``: ``radius``, norms from 0 to the largest eps, and ``correct``, image
          pixels that stay correct under any perturbation of that norm;
        - ``curve``: per share, ``{"share", "radius"}``;
        - ``regions``: per component, ``{"class", "pixels", "box", "detected", "radius"}`` as in
          ``Region``; None without a query, with label counts and with ``weights``;
        - ``fabrication``: per class of ``object_classes``, ``{"class", "pixels", "alarms",
          "invented", "radius"}`` as in ``FalseAlarms``, of objects of at least so many pixels;
          ``invented`` is per eps; None as ``regions``.

    Raises:
        ValueError: On any input that cannot be certified, naming it.
    """
    norms, bound = check_eps(eps), check_lipschitz(lipschitz)
    thresholds = [check_share(t, "thresholds") for t in thresholds]
    if max_vertices < 2:
        raise ValueError(f"max_vertices must be at least 2, got {max_vertices}")
    labels = target
    if cells is not None:
        target = native_target(logits, target, cells, ignore_index)
    problem = ImageProblem(
        logits, target, ignore_index=ignore_index, weights=weights, classifier=classifier
    )
    budgets = [squared_budget(norm, bound) for norm in norms]
    accuracy = ShareProblem(
        problem, METRICS["pixel_accuracy"], limit=math.inf if thresholds else max(budgets)
    )
    stable = problem.all_pixels(max(budgets))
    classes = [
        _class_entries(problem, c, budgets, max_vertices) for c in range(problem.num_classes)
    ]

    region_entries: dict[str, Any] = {"regions": None, "fabrication": None}
    if regions is not None and labels.ndim == 2 and weights is None:
        maps = PixelMaps(problem, labels, cells)
        region_entries = _region_entries(
            maps, problem.num_classes, bound, budgets, regions, ignore_index
        )

    grid = (max(norms) * np.linspace(0, 1, CURVE_POINTS) ** 2).tolist()
    fallen = accuracy.group.gain(np.array([squared_budget(norm, bound) for norm in grid]))
    entry = {
        "eps": norms,
        "lipschitz": bound,
        "valid": problem.valid,
        "correct": problem.correct,
        "correct_lost": as_numbers(accuracy.group.gain(np.array(budgets))),
        "stable_lost": as_numbers(stable.gain(np.array(budgets))),
        "intersection": as_numbers(problem.intersection),
        "gt_area": as_numbers(problem.gt_area),
        "pred_area": as_numbers(problem.pred_area),
        **{
            name: [[entries[i][name] for entries in classes] for i in range(len(norms))]
            for name in classes[0][0]
        },
        "radius": [
            {"threshold": t, "value": _accuracy_radius(accuracy, t, bound)} for t in thresholds
        ],
        "accuracy_curve": {"radius": grid, "correct": as_numbers(problem.correct - fallen)},
        "curve": [
            {"share": share, "radius": _defined(radius)}
            for share, radius in zip(shares, curve_radii(problem, bound, shares), strict=True)
        ],
        **region_entries,
    }
    return cast(ImageEntry, entry)  # its keys come from the table of metrics


def _accuracy_radius(accuracy: ShareProblem, threshold: float, lipschitz: float) -> float | None:
    clean = accuracy.worst(-1.0)
    if math.isnan(clean):
        return None
    return radius_of(accuracy.lowest_budget(threshold), lipschitz) if clean >= threshold else 0.0
