"""From the entries of all images under noise to the figures of the dataset."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import numpy as np

from ..metrics import CLASS_METRICS, MEAN_METRICS, defined_mean, mean_curve, shares
from ..validation import check_entries
from .dataset_allowance import DatasetAllowance
from .records import SmoothingEntry, SmoothingSummary
from .settings import SmoothingSettings

_CURVE = " Accuracy curve: per image, with an alpha of its own."
GUARANTEES = {
    "holm": (
        "Per image: with probability >= 1 - alpha no certified pixel of the image is wrong, at any "
        "tau. Dataset figures: expected share of images for which this fails <= alpha." + _CURVE
    ),
    "k-fwer": (
        "Per image: with probability >= 1 - alpha fewer than k certified pixels of the image are "
        "wrong, at any tau. Dataset figures, less k - 1 pixels per image: expected share of images "
        "for which this fails <= alpha." + _CURVE
    ),
    "metric": (
        "Dataset: with probability >= 1 - alpha all certified figures hold together, at every tau. "
        "Single pixels are not guaranteed." + _CURVE
    ),
}
GUARANTEES["bonferroni"] = GUARANTEES["holm"]


class _Totals:
    """The entries' counts as arrays: images x classes."""

    def __init__(self, entries: Sequence[SmoothingEntry], settings: SmoothingSettings) -> None:
        self.entries = entries
        self.settings = settings
        self.valid = np.array([e["valid"] for e in entries], dtype=np.float64)
        self.tested = np.array([e["tested"] for e in entries], dtype=np.float64)
        self.gt_area = np.array([e["gt_area"] for e in entries], dtype=np.float64)

    def predicted(self, name: Literal["clean", "smoothed"]) -> dict[str, Any]:
        """Figures of a prediction that nobody attacks; an abstaining pixel is wrong."""
        tp = np.array([e[name]["intersection"] for e in self.entries], dtype=np.float64)
        fp = np.array([e[name]["pred_area"] for e in self.entries], dtype=np.float64) - tp
        nothing = DatasetAllowance.none(*tp.shape)
        accuracy = self._image_mean(tp.sum(1), nothing)
        return {"pixel_accuracy": accuracy, **self._pooled(tp, fp, np.zeros_like(fp), nothing)}

    def certified(self, i: int) -> dict[str, Any]:
        rows = [e["certified"][i] for e in self.entries]
        tau = rows[0]["tau"]
        tp, fp, abstained = (
            np.array([row[name] for row in rows], dtype=np.float64)
            for name in ("tp", "fp", "abstained")
        )
        certified = np.array([row["certified"] for row in rows], dtype=np.float64)
        if self.settings.correction == "metric":
            allowance = DatasetAllowance.of_metrics(
                self.settings,
                tau,
                rows[0]["threshold"],
                self.valid,
                self.tested,
                self.gt_area.sum(0),
            )
        else:
            per_image = np.array([row["allowance"] for row in rows], dtype=np.float64)
            allowance = DatasetAllowance.of_pixels(per_image, tp.shape[1])
        # Abstaining pixels of any other class may become this one.
        others = abstained.sum(1, keepdims=True) - abstained
        row = {
            "eps": rows[0]["eps"],
            "tau": tau,
            "allowance": allowance.pixels,
            "pixel_accuracy": self._image_mean(tp.sum(1), allowance),
            "stability": self._image_mean(certified, allowance),
            "abstain": defined_mean(shares(self.valid - certified, self.valid)),
            **self._pooled(tp, fp, others, allowance),
        }
        nothing = DatasetAllowance.none(*tp.shape)
        published = self._pooled(tp, fp, np.zeros_like(fp), nothing)
        row["mIoU_published"] = published["mIoU"]
        if "information" in rows[0]:
            information = np.array([row["information"] for row in rows], dtype=np.float64)
            row["information_gain"] = self._image_mean(information, allowance)
        return row

    def _image_mean(self, good: np.ndarray, allowance: DatasetAllowance) -> float:
        """Mean over images of the guaranteed share of good pixels."""
        mean = defined_mean(shares(good - allowance.per_image, self.valid))
        return mean if math.isnan(mean) else max(0.0, mean - allowance.image_share)

    def _pooled(
        self, tp: np.ndarray, fp: np.ndarray, others: np.ndarray, allowance: DatasetAllowance
    ) -> dict[str, Any]:
        """Figures of all images' pixels together, with the wrong certificates at their worst.

        Args:
            tp: Pixels of a class that are predicted as it, images x classes.
            fp: Pixels of other classes that are predicted as it.
            others: Pixels of other classes that may become it.
            allowance: Wrong certificates.
        """
        tp, fp, area = tp.sum(0), (fp + others).sum(0), self.gt_area.sum(0)
        valid, wrong = self.valid.sum(), allowance.pixels
        # Wrong certificates take true positives or make false positives. A quotient that falls with
        # both is lowest when as many as can be are spent on one of the two.
        breakable = np.minimum(np.minimum(tp, wrong), allowance.per_class)
        makeable = valid - area - fp
        made = np.minimum(wrong, makeable)
        attacks = (
            (breakable, np.minimum(wrong - breakable, makeable)),
            (np.minimum(wrong - made, breakable), made),
        )
        classes_lost = allowance.class_share * np.count_nonzero(area)
        values, means = {}, {}
        for metric in CLASS_METRICS:
            lowest = [metric.value(tp - a, area, tp - a + fp + b, valid) for a, b in attacks]
            values[metric.name] = np.minimum(*lowest)
            means[metric.name] = defined_mean(values[metric.name])
            if metric.slope is not None:
                # Every class loses true positives at once: their shares of the labels add up to
                # the allowed sum, and the metric loses at most ``slope`` times that.
                full = metric.value(tp, area, tp + fp + made, valid)
                shared = _class_mean(values[metric.name], full, metric.slope * classes_lost)
                means[metric.name] = shared
        return {
            "pixel_accuracy_dataset": shares(tp.sum() - wrong, valid).item(),
            **{mean.name: means[mean.of] for mean in MEAN_METRICS},
            "per_class": [
                {name: float(value[c]) for name, value in values.items()} for c in range(len(tp))
            ],
        }


def _class_mean(values: np.ndarray, full: np.ndarray, shared_loss: float) -> float:
    """The better of two bounds of a mean over classes: each at its worst, or all together."""
    mean, count = defined_mean(values), np.count_nonzero(~np.isnan(full))
    return mean if count == 0 else max(mean, defined_mean(full) - shared_loss / count)


#: What the entries of one dataset have in common.
_SHARED: dict[str, Callable[[SmoothingEntry], Any]] = {
    "settings": lambda e: e["settings"],
    "number of classes": lambda e: len(e["gt_area"]),
    "figures": lambda e: sorted(e["certified"][0]),
}


def smoothing_summary(entries: Sequence[SmoothingEntry]) -> SmoothingSummary:
    """Clean, smoothed and certified figures of a dataset from the entries of its images.

    Certified figures are worst cases: a pixel that is not certified may become any class, and so
    may as many certified pixels as the correction allows to be wrong. Means over classes leave out
    NaN; a class without ground truth enters mIoU and mDice as 0 as soon as a pixel can become it.

    Args:
        entries: Of ``smoothing_entry``, one per image, of the same settings and classes.

    Returns:
        A dictionary with

        - ``images``, ``settings``, ``guarantee`` (what holds with which probability);
        - ``clean``: figures of the segmentor alone; ``smoothed``: of the selected classes;
        - ``certified``: per tau ``{"eps", "tau", "allowance", ...}`` with the same figures within
          the radius eps, ``stability`` and ``abstain`` (shares of pixels), ``mIoU_published``
          (abstentions count as wrong but become no other class; no guarantee) and, with a
          hierarchy, ``information_gain`` (certified information gain);
        - ``curve``: ``{"radius", "pixel_accuracy"}``, certified accuracy of the radius map.

        Figures are ``pixel_accuracy`` (mean over images with a valid pixel) and, pooled over all
        pixels, ``pixel_accuracy_dataset``, ``mIoU``, ``mDice``, ``mAcc``, ``mSpecificity`` and
        ``per_class``, a list of ``{"iou", "dice", "recall", "specificity"}``; undefined ones are
        NaN.

    Raises:
        ValueError: Without entries, or when they do not agree.
    """
    check_entries(entries, _SHARED)
    settings = SmoothingSettings(**cast(Any, entries[0]["settings"]))
    totals = _Totals(entries, settings)
    return {
        "images": len(entries),
        "settings": entries[0]["settings"],
        "guarantee": GUARANTEES[settings.correction],
        "clean": totals.predicted("clean"),
        "smoothed": totals.predicted("smoothed"),
        "certified": [totals.certified(i) for i in range(len(settings.taus))],
        "curve": mean_curve([e["curve"] for e in entries], totals.valid),
    }
