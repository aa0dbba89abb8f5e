"""What certificate.json holds, key by key; ``docs/results_format.md`` explains it.

Figures are metrics by name: the table of metrics decides which there are, so no type lists them.
"""

from typing import TypedDict

from ..certificates.records import AccuracyRow, CurveRow, Figures, RadiusRow, RegionSummary


class BoundRecord(TypedDict):
    """Where the guarantee of a Lipschitz certificate comes from."""

    bound: float
    lower_bound: float
    preprocessing: float
    network: float
    resized_images: int


class HierarchyRecord(TypedDict):
    """Groups of classes by name, level by level."""

    share: float
    levels: list[dict[str, list[str]]]


class SmoothingRecord(TypedDict):
    """Noise, test and what the smoothed segmentor predicts without attack."""

    sigma: float
    radius: float
    n0: int
    n: int
    alpha: float
    tau: float
    correction: str
    k: int
    abstain: float
    guarantee: str
    noise_at: str
    hierarchy: HierarchyRecord | None
    smoothed: Figures


class CostRecord(TypedDict):
    """Seconds and forward passes of an image."""

    forward_passes_per_image: int
    seconds_per_image: float
    seconds_forward_per_image: float


class Certificate(RegionSummary):
    """The content of certificate.json; None or empty where a method has nothing."""

    schema: int
    method: str
    norm: str
    units: str
    images: int
    seed: int | None
    lipschitz: BoundRecord | None
    smoothing: SmoothingRecord | None
    clean: Figures
    certified: list[Figures]
    radius: list[RadiusRow]
    curve: list[CurveRow]
    accuracy_curve: list[AccuracyRow] | None
    cost: CostRecord
    model: dict[str, str]
    environment: dict[str, str]
