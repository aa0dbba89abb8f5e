"""What is stored of one image under noise, and what follows for a dataset, key by key.

``smoothing_entry`` and ``smoothing_summary`` explain them.
"""

from typing import Any, NotRequired, TypedDict

from ..records import AccuracyCurve, AccuracyRow


class SettingsRecord(TypedDict):
    """``SmoothingSettings`` as JSON."""

    sigma: float
    n0: int
    n: int
    alpha: float
    taus: list[float]
    correction: str
    k: int


class SegmentationCounts(TypedDict):
    """Pixels of a prediction per class."""

    intersection: list[int]
    pred_area: list[int]


class CertifiedCounts(TypedDict):
    """Pixels at one tau; lists are per class."""

    tau: float
    eps: float
    threshold: int
    allowance: int
    certified: int
    tp: list[int]
    fp: list[int]
    abstained: list[int]
    information: NotRequired[float]


class SmoothingEntry(TypedDict):
    """Of ``smoothing_entry``."""

    settings: SettingsRecord
    valid: int
    tested: int
    gt_area: list[int]
    clean: SegmentationCounts
    smoothed: SegmentationCounts
    certified: list[CertifiedCounts]
    curve: AccuracyCurve


class SmoothingSummary(TypedDict):
    """Of ``smoothing_summary``; figures are metrics by name."""

    images: int
    settings: SettingsRecord
    guarantee: str
    clean: dict[str, Any]
    smoothed: dict[str, Any]
    certified: list[dict[str, Any]]
    curve: list[AccuracyRow]
