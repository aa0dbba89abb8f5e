"""What a summary needs to know of one image under noise, in a few KB."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from ..records import AccuracyCurve
from ..validation import check_integer_map, check_labels
from .binomial import clopper_pearson_radii
from .maps import check_hits, hit_thresholds, tested_pixels
from .metric_level import wrong_certificates
from .records import (
    CertifiedCounts,
    SegmentationCounts,
    SettingsRecord,
    SmoothingEntry,
)
from .settings import SmoothingSettings

if TYPE_CHECKING:
    from .class_hierarchy import ClassHierarchy

#: Radii at which the certified accuracy of the radius map is counted.
CURVE_POINTS = 20


def allowance(settings: SmoothingSettings, tested: int, tau: float, threshold: int) -> int:
    """Wrong certificates that must be reckoned with among so many tested pixels.

    Args:
        settings: What is claimed.
        tested: Number of tested pixels that count in the metrics.
        tau: Probability claimed.
        threshold: Hits that certify a pixel.
    """
    if settings.correction == "metric":
        return wrong_certificates(tested, settings.n, tau, settings.alpha_per_event, threshold)
    return min(settings.k - 1, tested)


def _joint_histogram(maps: list[Tensor], sizes: list[int]) -> np.ndarray:
    """Number of pixels per combination of values, shape ``sizes``."""
    index = torch.zeros_like(maps[0], dtype=torch.int32)
    for values, size in zip(maps, sizes, strict=True):
        index.mul_(size).add_(values)
    counts = torch.bincount(index.flatten(), minlength=int(np.prod(sizes)))
    return counts.cpu().numpy().reshape(sizes)


def _segmentation_counts(joint: np.ndarray) -> SegmentationCounts:
    """Intersection and predicted area per class from labels x predictions."""
    return {
        "intersection": np.diagonal(joint).tolist(),
        "pred_area": joint.sum(0).tolist(),
    }


def _information(hierarchy: ClassHierarchy) -> np.ndarray:
    """What a vertex tells about a label that it contains, classes x vertices without the root."""
    labels = torch.arange(hierarchy.num_classes)[:, None]
    vertices = torch.arange(hierarchy.abstain)[None]
    labels, vertices = torch.broadcast_tensors(labels, vertices)
    gain = hierarchy.contains(vertices, labels) * hierarchy.information()[: hierarchy.abstain]
    return gain.numpy()


def smoothing_entry(
    selected: Tensor,
    hits: Tensor,
    target: Tensor,
    clean: Tensor,
    settings: SmoothingSettings,
    num_classes: int,
    ignore_index: int = 255,
    hierarchy: ClassHierarchy | None = None,
) -> SmoothingEntry:
    """Reduce an image to the counts from which ``smoothing_summary`` makes all figures.

    Args:
        selected: Class selected by the first stage (or vertex of the hierarchy), (H, W).
        hits: Draws of the second stage that agree with it, (H, W), in [0, n].
        target: Labels (H, W) in [0, K) or ``ignore_index``.
        clean: Prediction (H, W) of the segmentor alone, without noise.
        settings: What is claimed.
        num_classes: K.
        ignore_index: Label of pixels that are in no metric. They are tested all the same.
        hierarchy: Of the vertices; without one they are classes.

    Returns:
        JSON-able: ``settings``; ``valid`` (pixels with label); ``tested`` (those of them that are
        tested); ``gt_area``; ``clean`` and ``smoothed``, each ``intersection`` and ``pred_area``
        per class, where vertices above the classes abstain; ``certified``, per tau ``tau``,
        ``eps`` (radius), ``threshold`` (hits), ``allowance`` (wrong certificates to reckon with in
        this image), ``certified`` (pixels, at any level) and, per class, ``tp`` (certified as it,
        rightly), ``fp`` (certified as it, wrongly labeled), ``abstained`` (pixels with its label
        not certified as a class), with a hierarchy also ``information`` (summed over pixels whose
        certified vertex contains the label); ``curve``, ``radius`` and ``correct`` (pixels that are
        correct up to this radius).

    Raises:
        ValueError: On wrong shapes, labels or hits, or if n draws can certify nothing; the message
            then names the n that suffices.
    """
    check_hits(hits, settings.n)
    shape = tuple(hits.shape)
    for values, name in ((selected, "selected"), (target, "target"), (clean, "clean")):
        check_integer_map(values, shape, name)
    check_labels(target, num_classes, ignore_index)
    vertices = num_classes if hierarchy is None else len(hierarchy)
    if hierarchy is not None and hierarchy.num_classes != num_classes:
        raise ValueError(f"hierarchy has {hierarchy.num_classes} classes, need {num_classes}")
    for values, name, size in ((selected, "selected", vertices), (clean, "clean", num_classes)):
        low, high = torch.aminmax(values)
        if low < 0 or high >= size:
            raise ValueError(f"{name} must be in [0, {size}), got {int(low)}..{int(high)}")

    tested = tested_pixels(selected, hierarchy)
    number = int(tested.sum())
    if number:
        settings.check_floor(number)
    thresholds = hit_thresholds(hits, tested, settings)

    # Ignored pixels get a label of their own, dropped after counting.
    labels = target.int().masked_fill(target == ignore_index, num_classes)
    levels = torch.zeros(settings.n + 1, dtype=torch.int32, device=hits.device)
    for threshold in thresholds:
        levels[threshold:] += 1
    joint = _joint_histogram(
        [labels, selected.int(), levels[hits.int()]],
        [num_classes + 1, vertices, len(thresholds) + 1],
    )[:num_classes]
    drawn = joint.sum(2)
    gt_area = drawn.sum(1)
    root = vertices if hierarchy is None else hierarchy.abstain
    tested_valid = int(drawn[:, :root].sum())
    clean_joint = _joint_histogram([labels, clean.int()], [num_classes + 1, num_classes])

    rows = []
    # A pixel passes a threshold if fewer thresholds than its level are lower.
    rank = np.argsort(np.argsort(thresholds, kind="stable"), kind="stable")
    for tau, radius, threshold, lower in zip(
        settings.taus, settings.radii, thresholds, rank, strict=True
    ):
        certified = joint[:, :root, int(lower) + 1 :].sum(2)
        leaf = certified[:, :num_classes]
        tp = np.diagonal(leaf)
        row: CertifiedCounts = {
            "tau": tau,
            "eps": radius,
            "threshold": threshold,
            "allowance": allowance(settings, tested_valid, tau, threshold),
            "certified": int(certified.sum()),
            "tp": tp.tolist(),
            "fp": (leaf.sum(0) - tp).tolist(),
            "abstained": (gt_area - leaf.sum(1)).tolist(),
        }
        if hierarchy is not None:
            row["information"] = float((certified * _information(hierarchy)).sum())
        rows.append(row)

    return {
        "settings": cast(SettingsRecord, {**asdict(settings), "taus": list(settings.taus)}),
        "valid": int(gt_area.sum()),
        "tested": tested_valid,
        "gt_area": gt_area.tolist(),
        "clean": _segmentation_counts(clean_joint[:num_classes]),
        "smoothed": _segmentation_counts(drawn[:, :num_classes]),
        "certified": rows,
        # The label of ignored pixels is also the number of the first group of a hierarchy.
        "curve": _curve(
            hits[(labels == selected) & (labels < num_classes)], settings, hits.numel()
        ),
    }


def _curve(hits: Tensor, settings: SmoothingSettings, tested: int) -> AccuracyCurve:
    """Correctly selected pixels per radius, from the radius map over all tested pixels."""
    n, sigma, alpha = settings.n, settings.sigma, settings.alpha
    # The last radius is that of a single test, so that images of any size share the grid.
    grid = np.linspace(0, clopper_pearson_radii(n, sigma, alpha, 1)[-1], CURVE_POINTS)
    proven = clopper_pearson_radii(n, sigma, alpha, tested)
    counts = torch.bincount(hits.int(), minlength=n + 1).cpu().numpy()
    return {
        "radius": grid.tolist(),
        "correct": [int(counts[(proven > 0) & (proven >= radius)].sum()) for radius in grid],
    }
