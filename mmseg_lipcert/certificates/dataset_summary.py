"""From the entries of all images to the figures of the dataset, clean and certified."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .iou import lowest_dataset_ratio
from .metrics import CLASS_METRICS, MEAN_METRICS, Metric, defined_mean, mean_curve, shares
from .records import DatasetSummary, Figures, LossEntry, RadiusRow
from .region_summary import object_figures, region_summary
from .validation import check_entries


class _Totals:
    """The entries' counts as arrays: images x classes."""

    def __init__(self, entries: Sequence[LossEntry]) -> None:
        self.entries = entries
        self.valid = np.array([e["valid"] for e in entries], dtype=np.float64)
        self.correct = np.array([e["correct"] for e in entries], dtype=np.float64)
        self.hit = np.array([e["intersection"] for e in entries], dtype=np.float64)
        self.gt_area = np.array([e["gt_area"] for e in entries], dtype=np.float64)
        self.pred_area = np.array([e["pred_area"] for e in entries], dtype=np.float64)

    def figures(self, i: int | None = None) -> Figures:
        """Figures at the i-th eps; without attack if it is None."""
        values = {metric.name: self._values(metric, i) for metric in CLASS_METRICS}
        correct = self.correct - self._lost("correct_lost", i)
        accuracies = shares(correct, self.valid)
        lowest, image = self._lowest(accuracies)
        return {
            "pixel_accuracy": defined_mean(accuracies),
            "pixel_accuracy_lowest": lowest,
            "lowest_image": image,
            "pixel_accuracy_dataset": shares(correct.sum(), self.valid.sum()).item(),
            "stability": defined_mean(
                shares(self.valid - self._lost("stable_lost", i), self.valid)
            ),
            **{mean.name: defined_mean(values[mean.of]) for mean in MEAN_METRICS},
            "per_class": [
                {name: float(value[c]) for name, value in values.items()}
                for c in range(self.hit.shape[1])
            ],
        }

    def _lost(self, key: str, i: int | None) -> np.ndarray | float:
        """Pixels that fall, per image (and class); none without attack."""
        if i is None:
            return 0.0
        return np.array(
            [e[key][i] for e in self.entries],  # type: ignore[literal-required]
            dtype=np.float64,
        )

    def _values(self, metric: Metric, i: int | None) -> Sequence[float] | np.ndarray:
        """A metric of every class, pooled over the images."""
        good, area = metric.terms(self.hit, self.gt_area, self.pred_area, self.valid[:, None])
        if metric.ratio is None:
            return shares((good - self._lost(metric.lost, i)).sum(0), area.sum(0))
        if i is None:
            return metric.ratio.value(good.sum(0), area.sum(0), 0.0, 0.0)
        return [
            lowest_dataset_ratio(
                metric.ratio, good[:, c], area[:, c], [e["frontier"][i][c] for e in self.entries]
            )
            for c in range(self.hit.shape[1])
        ]

    def _lowest(self, accuracies: np.ndarray) -> tuple[float, str | None]:
        """Lowest accuracy of an image, and its name; the first name in the alphabet if several."""
        defined = [
            (accuracy, entry.get("image") or "")
            for accuracy, entry in zip(accuracies.tolist(), self.entries, strict=True)
            if not math.isnan(accuracy)
        ]
        lowest, image = min(defined, default=(math.nan, ""))
        return lowest, image or None


#: What the entries of one dataset have in common.
_SHARED: dict[str, Callable[[LossEntry], Any]] = {
    "eps": lambda e: e["eps"],
    "number of classes": lambda e: len(e["gt_area"]),
    "thresholds": lambda e: [r["threshold"] for r in e["radius"]],
    "shares": lambda e: [p["share"] for p in e["curve"]],
}


def dataset_summary(entries: Sequence[LossEntry]) -> DatasetSummary:
    """Clean and certified figures of a dataset from the entries of its images, in any order.

    ``pixel_accuracy`` and ``stability`` are means over images with a valid pixel, and
    ``pixel_accuracy_lowest`` is the accuracy of the worst of them, ``lowest_image``;
    ``pixel_accuracy_dataset``, recall and specificity are pooled, exactly, because every image has
    its own budget. IoU and Dice are pooled by fractional programming over the frontiers
    (``lowest_dataset_ratio``). mIoU, mAcc, mDice and mSpecificity are means over the classes that
    are not NaN; a class without ground truth in the whole dataset enters mIoU and mDice as 0 as
    soon as a pixel of it is predicted or can be created, which keeps them lower bounds.

    Args:
        entries: Of ``image_entry``, one per image, with the same eps, classes and options;
            ``image``, a name, may be added.

    Returns:
        A dictionary with

        - ``images``: their number;
        - ``clean``: figures without attack;
        - ``certified``: per eps, ``{"eps", ...}`` with the same figures under attack;
        - ``radius``: per threshold, ``{"metric", "threshold", "mean", "median"}`` over the images
          with a valid pixel;
        - ``accuracy_curve``: ``{"radius", "pixel_accuracy"}``, from 0 to the largest eps;
        - ``curve``: per share, ``{"share", "radius"}``, the mean of the images' radii;
        - ``regions``, ``fabrication``: per class, as in ``region_summary``.

        Figures are ``pixel_accuracy``, ``pixel_accuracy_lowest``, ``pixel_accuracy_dataset``,
        ``stability``, ``mIoU``, ``mAcc``, ``mDice``, ``mSpecificity`` and ``per_class``, a list of
        ``{"iou", "dice", "recall", "specificity"}``; undefined ones are NaN. ``lowest_image`` is
        the ``image`` of an entry, or None if it has none. Where there are classes whose objects
        matter, ``detection`` and ``alarm_free`` of ``object_figures`` are among them.

    Raises:
        ValueError: Without entries, or when they do not agree.
    """
    check_entries(entries, _SHARED)
    totals = _Totals(entries)
    radii: list[RadiusRow] = []
    for i, first in enumerate(entries[0]["radius"]):
        radii_of_images = [e["radius"][i]["value"] for e in entries]
        values = [v for v in radii_of_images if v is not None]
        median = float(np.median(values)) if values else math.nan
        radii.append(
            {
                "metric": "pixel_accuracy",
                "threshold": first["threshold"],
                "mean": defined_mean(values),
                "median": median,
            }
        )
    regions = region_summary(entries)
    return {
        "images": len(entries),
        "clean": {**totals.figures(), **object_figures(entries, regions)},
        "certified": [
            {"eps": e, **totals.figures(i), **object_figures(entries, regions, i)}
            for i, e in enumerate(entries[0]["eps"])
        ],
        "radius": radii,
        "accuracy_curve": mean_curve([e["accuracy_curve"] for e in entries], totals.valid),
        "curve": [
            {
                "share": point["share"],
                "radius": defined_mean([e["curve"][i]["radius"] for e in entries]),
            }
            for i, point in enumerate(entries[0]["curve"])
        ],
        **regions,
    }
