"""How far to go along one direction."""

from __future__ import annotations

import torch
from torch import Tensor

from .ball import norms, per_image
from .objectives import QuotaObjective
from .pgd import LogitsOf

_BISECTIONS = 10


@torch.no_grad()
def line_search(
    logits_of: LogitsOf,
    images: Tensor,
    objective: QuotaObjective,
    direction: Tensor,
    first_norm: float = 0.1,
    clip: bool = True,
) -> tuple[Tensor, Tensor]:
    """Find short multiples of a direction that reach an objective's quota; every image on its own.

    The step is doubled until the quota is reached, and then bisected.

    Args:
        logits_of: Map from images to logits.
        images: (N, 3, H, W) in [0, 1].
        objective: What is wanted.
        direction: (N, 3, H, W).
        first_norm: Length of the first step.
        clip: Whether images stay in [0, 1]. Defaults to True.

    Returns:
        Perturbations (N, 3, H, W), and their norms (N,) in float64; infinite where even the step
        between the most distant images does not reach the quota.
    """
    direction = direction / per_image(norms(direction).clamp_min(1e-30), direction)

    def moved(length: Tensor) -> Tensor:
        delta = per_image(length, direction) * direction
        return torch.clamp(delta, -images, 1 - images) if clip else delta

    def reached(length: Tensor) -> Tensor:
        return objective.score(logits_of(images + moved(length))) == 0

    low = torch.zeros(len(images), dtype=torch.float64, device=images.device)
    high = low + first_norm
    # A clipped step may have to be much longer than what is left of it.
    longest = 10 * images[0].numel() ** 0.5
    high = torch.where(reached(low), low, high)
    there = reached(high)
    while not there.all() and high[~there].min() < longest:
        low, high = torch.where(there, low, high), torch.where(there, high, 2 * high)
        there = reached(high)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        short = reached(middle)
        low, high = torch.where(short, low, middle), torch.where(short, middle, high)
    delta = moved(high)
    return delta, torch.where(there, norms(delta), torch.inf)
