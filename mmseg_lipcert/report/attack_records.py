"""What attacks leave of one image, and of a dataset, key by key."""

from typing import NotRequired, TypedDict

from ..certificates.records import Figures, ImageEntry


class LabelCounts(TypedDict):
    """Counts of one label map from which every metric follows; lists are per class."""

    correct: int
    stable: int
    intersection: list[int]
    pred_area: list[int]


class AttackCounts(LabelCounts):
    """What one attack left."""

    attack: str
    norm: float


class MinimalRecord(TypedDict):
    """Shortest perturbation found that undercuts a pixel accuracy, and the certified radius."""

    threshold: float
    norm: float | None
    radius: float | None


# "class" is a keyword: this one cannot be written as a class.
RegionAttack = TypedDict(
    "RegionAttack",
    {"kind": str, "class": int, "pixels": int, "norm": float, "radius": float | None},
)


class Violation(TypedDict):
    """A certificate that an attack refutes; ``confirmed`` if it does so in float64 as well."""

    eps: float
    attack: str
    metrics: list[str]
    norm: float
    confirmed: bool


class AttackedImage(TypedDict):
    """Of :meth:`mmseg_lipcert.attacks.AttackRun.attack`; ``attacks`` are per eps."""

    image: str
    eps: list[float]
    valid: int
    gt_area: list[int]
    clean: LabelCounts
    attacks: list[list[AttackCounts]]
    minimal: list[MinimalRecord]
    regions: list[RegionAttack]
    certified: ImageEntry | None
    violations: list[Violation]
    seconds: NotRequired[float]


class AttackSummary(TypedDict):
    """Of :func:`mmseg_lipcert.attacks.attack_summary`; ``strongest`` per eps: images by attack."""

    images: int
    clean: Figures
    attacked: list[Figures]
    certified: list[Figures] | None
    strongest: list[dict[str, int]]
