"""What is stored of one image under a Lipschitz certificate, and what follows for a dataset.

The keys of metrics (``iou``, ``recall_lost``, ...) are those of ``metrics``; ``image_entry``
explains them all.
"""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

#: Figures of a dataset by name, as the table of metrics has them, and ``per_class``.
Figures = dict[str, Any]


class AccuracyRadius(TypedDict):
    """Radius below which pixel accuracy stays above a threshold; None without a valid pixel."""

    threshold: float
    value: float | None


class CurvePoint(TypedDict):
    """Radius below which less than a share of the predictions changes."""

    share: float
    radius: float | None


# "class" is a keyword: these two cannot be written as classes.
RegionRecord = TypedDict(
    "RegionRecord",
    {"class": int, "pixels": int, "box": list[int], "detected": bool, "radius": float},
)
FabricationRecord = TypedDict(
    "FabricationRecord",
    {"class": int, "pixels": int, "alarms": int, "invented": list[int], "radius": float},
)


class AccuracyCurve(TypedDict):
    """Correct pixels per radius."""

    radius: list[float]
    correct: list[float]


class AccuracyRow(TypedDict):
    """Certified accuracy at a radius."""

    radius: float
    pixel_accuracy: float


class LossEntry(TypedDict):
    """Counts of one image, and what perturbations of each eps take: what a dataset's figures need.

    Attacks leave one as well as certificates.
    """

    eps: list[float]
    valid: float
    correct: float
    correct_lost: list[float]
    stable_lost: list[float]
    intersection: Sequence[float]
    gt_area: Sequence[float]
    pred_area: Sequence[float]
    recall_lost: list[list[float]]
    specificity_lost: list[list[float]]
    frontier: list[list[list[list[float]]]]
    radius: list[AccuracyRadius]
    accuracy_curve: AccuracyCurve
    curve: list[CurvePoint]
    regions: list[RegionRecord] | None
    fabrication: list[FabricationRecord] | None
    image: NotRequired[str]


class ImageEntry(LossEntry):
    """Of ``image_entry``; the rest is added by whoever knows the image."""

    lipschitz: float
    iou: list[list[float | None]]
    dice: list[list[float | None]]


class RadiusRow(TypedDict):
    """Norms that a threshold of a metric needs, over the images."""

    metric: str
    threshold: float
    mean: float
    median: float


class CurveRow(TypedDict):
    """Norm below which less than a share of the predictions changes, mean over the images."""

    share: float
    radius: float


class RegionSummary(TypedDict):
    """Of ``region_summary``: per class, objects and false alarms; None if none was asked for."""

    regions: list[dict[str, Any]] | None
    fabrication: list[dict[str, Any]] | None


class DatasetSummary(RegionSummary):
    """Of ``dataset_summary``."""

    images: int
    clean: Figures
    certified: list[Figures]
    radius: list[RadiusRow]
    accuracy_curve: list[AccuracyRow]
    curve: list[CurveRow]
