"""The one table of metrics: what they are called and what they divide by what.

Everything that lists metrics reads it: queries, entries and summaries of both kinds, attacks,
tables, the report and its figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .budget import BUDGET_GUARD
from .records import AccuracyCurve, AccuracyRow
from .validation import check_class_index


class Ratio(NamedTuple):
    """What an attack does to a ratio: ``factor (T - a) / (D - drop a + b)``.

    T are the true positives, a of which are lost; b false positives are made. IoU has
    ``factor = 1, drop = 0`` and D the union (a lost true positive is still ground truth and stays
    in it); Dice has ``factor = 2, drop = 1`` and D the sum of the two areas (a lost true positive
    leaves the predicted area). ``factor >= 1 + drop``, so that a lost true positive never weighs
    less than a made false positive: ``frontier_hull`` keeps what is worst under this condition.

    Attributes:
        factor: Multiplier of the numerator.
        drop: What a lost true positive takes from the denominator.
    """

    factor: int
    drop: int

    def value(self, intersection: Any, denominator: Any, lost: Any, made: Any) -> np.ndarray:
        """The metric after an attack; NaN where the class is in neither map."""
        return shares(
            self.factor * np.maximum(intersection - lost, 0.0),
            denominator - self.drop * lost + made,
        )

    def lowest(
        self, intersection: Any, denominator: Any, lost: np.ndarray, made: np.ndarray
    ) -> float:
        """The smallest value over pairs of attacks; NaN when no pair makes it a number."""
        values = self.value(intersection, denominator, lost, made)
        values = values[~np.isnan(values)]
        return float(values.min()) if len(values) else math.nan


def _no_terms(*areas: Any) -> tuple[Any, Any]:
    raise ValueError("this figure is not a share of an area: ask for one of QUERIES")


@dataclass(frozen=True)
class Metric:
    """One metric, or one more figure of a dataset.

    Attributes:
        name: In queries, certificate.json and attack.json.
        title: In tables.
        scope: ``"image"``: of an image, for datasets the mean over images; ``"class"``: of one
            class; ``"mean"``: over the classes; ``"dataset"``: a figure of a dataset that
            ``worst_case`` does not know.
        caption: In the report. Defaults to None: not there.
        shown: Whether tables show it. Defaults to True.
        highest: Whether less is better, so that it is rounded up. Defaults to False.
        of: The class metric of a mean.
        terms: What is good and the area that it is divided by, from intersection, ground truth and
            predicted area of classes and the valid pixels. Of class metrics elementwise, of images
            over the last axis.
        targets: Method of ``ImageProblem`` for the pixels that an attack takes from the good ones,
            when it leaves the area as it is.
        lost: Key of an image's entry for how many of them fall.
        ratio: Of class metrics whose area an attack changes, too.
        slope: What a class loses at most per share of its labels that are predicted wrongly; None
            without such a limit.
    """

    name: str
    title: str
    scope: str
    caption: str | None = None
    shown: bool = True
    highest: bool = False
    of: str = ""
    terms: Callable[..., tuple[Any, Any]] = _no_terms
    targets: str = ""
    lost: str = ""
    ratio: Ratio | None = None
    slope: int | None = None

    def value(self, intersection: Any, gt_area: Any, pred_area: Any, valid: Any) -> np.ndarray:
        """The metric of a prediction that nobody attacks; NaN where it is undefined."""
        good, area = self.terms(intersection, gt_area, pred_area, valid)
        return shares(good if self.ratio is None else self.ratio.factor * good, area)


def _specificity_terms(
    intersection: Any, gt_area: Any, pred_area: Any, valid: Any
) -> tuple[Any, Any]:
    negative = _rest(valid, gt_area, valid)
    return _rest(negative, pred_area - intersection, valid), negative


def _rest(area: Any, part: Any, whole: Any) -> np.ndarray:
    """What is left of an area; what rounding leaves of fractional weights is nothing."""
    rest = np.subtract(area, part)
    return np.where(rest > BUDGET_GUARD * np.asarray(whole), rest, 0)


_TABLE = (
    Metric(
        "pixel_accuracy", "pixel accuracy", "image", "pixel accuracy, mean over images",
        terms=lambda hit, gt, pred, valid: (hit.sum(-1), valid),
        targets="correct_pixels", lost="correct_lost",
    ),
    Metric("pixel_accuracy_dataset", "pooled", "dataset", "pixel accuracy, all pixels pooled"),
    Metric(
        "stability", "stability", "image", "pixels that cannot change",
        terms=lambda hit, gt, pred, valid: (valid, valid),
        targets="all_pixels", lost="stable_lost",
    ),
    Metric("mIoU", "mIoU", "mean", "mIoU", of="iou"),
    Metric("mDice", "mDice", "mean", "mean Dice", of="dice"),
    Metric("mAcc", "mAcc", "mean", "mean recall", of="recall"),
    Metric("mSpecificity", "mSpecificity", "mean", shown=False, of="specificity"),
    Metric("detection", "detected", "dataset", "objects that are detected"),
    Metric("alarm_free", "no false alarm", "dataset", "images without false alarm"),
    Metric("pixel_accuracy_lowest", "worst image", "dataset", "pixel accuracy, worst image"),
    Metric("abstain", "abstain", "dataset", "abstain", highest=True),
    Metric("mIoU_published", "mIoU as published (no guarantee)", "dataset"),
    Metric(
        "recall", "recall", "class",
        "Recall: share of the pixels labeled as the class that are predicted as it",
        terms=lambda hit, gt, pred, valid: (hit, gt),
        targets="true_positives", lost="recall_lost", slope=1,
    ),
    Metric(
        "iou", "IoU", "class", "IoU: overlap of prediction and label, relative to their union",
        terms=lambda hit, gt, pred, valid: (hit, gt + pred - hit),
        ratio=Ratio(factor=1, drop=0), slope=1,
    ),
    Metric(
        "dice", "Dice", "class", shown=False,
        terms=lambda hit, gt, pred, valid: (hit, gt + pred - hit + hit),
        ratio=Ratio(factor=2, drop=1), slope=2,
    ),
    Metric(
        "specificity", "specificity", "class", shown=False,
        terms=_specificity_terms,
        targets="true_negatives", lost="specificity_lost",
    ),
)  # fmt: skip

#: Every metric and figure by name, in the order of tables.
METRICS = {metric.name: metric for metric in _TABLE}
CLASS_METRICS = tuple(metric for metric in _TABLE if metric.scope == "class")
MEAN_METRICS = tuple(metric for metric in _TABLE if metric.scope == "mean")
#: Names that ``worst_case`` and ``robustness_radius`` take.
QUERIES = tuple(metric.name for metric in _TABLE if metric.scope != "dataset")


def queried_metric(name: str, class_index: int | None, num_classes: int) -> Metric:
    """The metric that a query asks about.

    Args:
        name: One of ``QUERIES``.
        class_index: The class, for those of one class.
        num_classes: Number of classes.

    Raises:
        ValueError: If there is no such metric, or a class is missing, too much or out of range.
    """
    if name not in QUERIES:
        raise ValueError(f"unknown metric {name!r}: choose one of {', '.join(QUERIES)}")
    metric = METRICS[name]
    if metric.scope == "class":
        check_class_index(class_index, num_classes, name)
    elif class_index is not None:
        raise ValueError(f"{name} is not per class: drop class_index={class_index}")
    return metric


def defined_mean(values: Iterable[float | None]) -> float:
    """Mean of the defined values, independent of their order; NaN without any."""
    defined = [v for v in values if v is not None and not math.isnan(v)]
    if not defined or any(math.isinf(v) for v in defined):
        return math.inf if defined else math.nan
    return math.fsum(defined) / len(defined)


def mean_curve(curves: Sequence[AccuracyCurve], valid: np.ndarray) -> list[AccuracyRow]:
    """Pixel accuracy at every radius of the images' curves, as the mean over the images.

    Args:
        curves: Correct pixels of each image, at the same radii.
        valid: Labeled pixels of each image; those without any are left out.
    """
    correct = np.array([curve["correct"] for curve in curves], dtype=np.float64)
    return [
        {"radius": radius, "pixel_accuracy": defined_mean(shares(correct[:, i], valid))}
        for i, radius in enumerate(curves[0]["radius"])
    ]


def shares(part: Any, area: Any) -> np.ndarray:
    """Shares, at least 0; NaN where the area is empty."""
    part, area = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(area, np.float64))
    part = np.maximum(part, 0.0)
    return np.divide(part, area, out=np.full(part.shape, math.nan), where=area > 0)
