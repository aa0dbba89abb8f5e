from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..certificates import RegionQuery
from ..certificates.validation import check_eps, check_share
from ..utils.rounding import check_distinct
from .catalog import ATTACKS, DEFAULT_ATTACKS


@dataclass(frozen=True)
class AttackSettings:
    """What is attacked how.

    Attributes:
        eps: l2 norms of the perturbation, in [0, 1] units.
        attacks: Names in ``ATTACKS``.
        steps: Gradient steps of each attack.
        thresholds: Pixel accuracies that a minimal-norm attack is to undercut.
        vanish: How many objects of each image, the largest ones, are to be erased.
        vanish_share: Share of its pixels whose loss makes an object vanish.
        vanish_classes: Classes of these objects; empty: all.
        fabricate: Classes of which an object is to be invented.
        fabricate_pixels: Its pixels.
        clip: Whether perturbed images must stay in [0, 1].
        seed: Of the noise for smoothed models.
        draws: Draws of noise per gradient, for smoothed models.
        votes: Draws of noise per prediction, for smoothed models.

    Raises:
        ValueError: If a value is out of range or an attack unknown, naming it.
    """

    eps: Sequence[float]
    attacks: Sequence[str] = DEFAULT_ATTACKS
    steps: int = 40
    thresholds: Sequence[float] = ()
    vanish: int = 0
    vanish_share: float = RegionQuery.vanish_share
    vanish_classes: Sequence[int] = ()
    fabricate: Sequence[int] = ()
    fabricate_pixels: int = 200
    clip: bool = False
    seed: int = 0
    draws: int = 8
    votes: int = 32

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", sorted(set(check_eps(list(self.eps)))))
        check_distinct(self.eps, "eps")
        object.__setattr__(self, "attacks", list(dict.fromkeys(self.attacks)))
        thresholds = [check_share(value, "thresholds") for value in self.thresholds]
        object.__setattr__(self, "thresholds", thresholds)
        for name in self.attacks:
            if name not in ATTACKS:
                raise ValueError(f"unknown attack {name!r}: choose from {', '.join(ATTACKS)}")
        check_share(self.vanish_share, "vanish_share")
        if self.vanish < 0:
            raise ValueError(f"vanish must be at least 0, got {self.vanish}")
        for name in ("steps", "draws", "votes", "fabricate_pixels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
