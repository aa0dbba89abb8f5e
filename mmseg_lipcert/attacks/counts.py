"""What a label map is worth, in counts of pixels, and when it refutes a certificate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..certificates.metrics import CLASS_METRICS
from ..certificates.records import ImageEntry
from ..report.attack_records import LabelCounts

# Quotients of the same two integers differ by less.
_ROUNDING = 1e-12


def label_counts(
    labels: Tensor, clean: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255
) -> LabelCounts:
    """Counts of one image from which every metric follows.

    Args:
        labels: Predicted labels (H, W), under attack or not.
        clean: Labels (H, W) predicted without attack.
        target: Ground truth (H, W).
        num_classes: Number of classes K.
        ignore_index: Label of ignored pixels. Defaults to 255.

    Returns:
        ``correct`` pixels, ``stable`` ones (predicted as without attack), and per class
        ``intersection`` and ``pred_area``; only valid pixels count.
    """
    valid = target != ignore_index
    predicted, truth = labels[valid].long(), target[valid].long()
    hits = torch.bincount(predicted[predicted == truth], minlength=num_classes)
    return {
        "correct": int(hits.sum()),
        "stable": int((labels == clean)[valid].sum()),
        "intersection": hits.tolist(),
        "pred_area": torch.bincount(predicted, minlength=num_classes).tolist(),
    }


def refuted(certified: ImageEntry, index: int, counts: LabelCounts) -> list[str]:
    """Metrics of one image that an attack pushed below their certified values.

    Args:
        certified: Of ``certificates.image_entry``.
        index: Which of its eps.
        counts: Of ``label_counts``, for a perturbation of at most this norm.

    Returns:
        Names of metrics; those of a class with its index, as ``iou/3``.
    """
    names, valid = [], certified["valid"]
    if counts["correct"] < certified["correct"] - certified["correct_lost"][index]:
        names.append("pixel_accuracy")
    if counts["stable"] < valid - certified["stable_lost"][index]:
        names.append("stability")
    classes = zip(
        certified["intersection"],
        certified["gt_area"],
        certified["pred_area"],
        counts["intersection"],
        counts["pred_area"],
        strict=True,
    )
    for c, (hit, gt_area, pred_area, hit_now, pred_now) in enumerate(classes):
        for metric in CLASS_METRICS:
            if metric.ratio is None:
                good, _ = metric.terms(hit, gt_area, pred_area, valid)
                good_now, _ = metric.terms(hit_now, gt_area, pred_now, valid)
                lost = certified[metric.lost]  # type: ignore[literal-required]
                below = good_now < good - lost[index][c]
            else:
                # A class that no attack can create has no certified value.
                bound = certified[metric.name][index][c]  # type: ignore[literal-required]
                bound = math.inf if bound is None else bound
                value = metric.value(hit_now, gt_area, pred_now, valid).item()
                below = value < bound - _ROUNDING
            if below:
                names.append(f"{metric.name}/{c}")
    return names
