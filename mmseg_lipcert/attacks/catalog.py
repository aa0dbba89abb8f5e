"""The attacks by name, and several of them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from .apgd import apgd
from .ball import Ball
from .found import Found
from .objectives import CountObjective, KnapsackObjective, Objective, PublishedObjective
from .pgd import LogitsOf, pgd
from .pixel_losses import (
    cospgd,
    cross_entropy,
    jensen_shannon,
    masked_cross_entropy,
    segpgd,
)


@dataclass(frozen=True)
class Attack:
    """An objective and the way to descend on it.

    Attributes:
        objective: From labels (N, H, W) and the ignored label to the objective.
        descent: ``pgd`` or ``apgd``.
    """

    objective: Callable[[Tensor, int], Objective]
    descent: Callable[..., Found]


def _published(pixel_loss: Callable, descent: Callable) -> Attack:
    def objective(target: Tensor, ignore_index: int) -> Objective:
        return PublishedObjective(target, pixel_loss, ignore_index)

    return Attack(objective, descent)


#: Every attack on pixel accuracy, by name.
ATTACKS = {
    "pgd": _published(cross_entropy, pgd),
    "apgd": _published(cross_entropy, apgd),
    "segpgd": _published(segpgd, pgd),
    "cospgd": _published(cospgd, pgd),
    "js": _published(jensen_shannon, apgd),
    "masked-ce": _published(masked_cross_entropy, pgd),
    "count": Attack(CountObjective, pgd),
    "knapsack": Attack(KnapsackObjective, pgd),
}

#: What an ensemble runs by default: the strongest of each family.
DEFAULT_ATTACKS = ("segpgd", "cospgd", "js", "masked-ce", "count", "knapsack")


def attack_accuracy(
    logits_of: LogitsOf,
    images: Tensor,
    target: Tensor,
    eps: float | Tensor,
    *,
    attacks: Sequence[str] = DEFAULT_ATTACKS,
    steps: int = 40,
    clip: bool = False,
    ignore_index: int = 255,
) -> dict[str, Found]:
    """Attack the pixel accuracy of a batch of images in several ways.

    Args:
        logits_of: Differentiable map from images (N, 3, H, W) in [0, 1] to logits (N, K, H0, W0).
        images: (N, 3, H, W) in [0, 1].
        target: Labels (N, H0, W0).
        eps: l2 norm of the perturbation, or one per image (N,), in [0, 1] units.
        attacks: Names in ``ATTACKS``.
        steps: Gradient steps of each attack. Defaults to 40.
        clip: Whether perturbed images must stay in [0, 1]. Defaults to False, as for certificates.
        ignore_index: Label of ignored pixels. Defaults to 255.

    Returns:
        What every attack found, by its name; ``score`` is the number of correct pixels.

    Raises:
        ValueError: On an unknown name, or an eps that is negative or not finite.
    """
    unknown = [name for name in attacks if name not in ATTACKS]
    if unknown:
        raise ValueError(f"unknown attack {unknown[0]!r}: choose from {', '.join(ATTACKS)}")
    radius = images.new_zeros(len(images), dtype=images.dtype).double() + eps
    ball = Ball(radius, images if clip else None)
    run = partial(_run, logits_of, images, target, ball, steps, ignore_index)
    return {name: run(ATTACKS[name]) for name in attacks}


def _run(
    logits_of: LogitsOf,
    images: Tensor,
    target: Tensor,
    ball: Ball,
    steps: int,
    ignore_index: int,
    attack: Attack,
) -> Found:
    objective = attack.objective(target, ignore_index)
    return attack.descent(logits_of, images, objective, ball, steps)
