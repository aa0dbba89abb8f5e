"""The smallest perturbation that reaches a quota of pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from .ball import Ball, norms, per_image
from .objectives import QuotaObjective
from .pgd import LogitsOf, direction

# Share of the steps that search for the size of the norm; the others refine.
_SEARCH = 0.6
_ROUNDS = 6
# Without a success the norm is multiplied by this, without a failure divided.
_FACTOR = 2.0
# First step of a round of the search, as a share of the norm; it falls to 0 within the round.
_SEARCH_STEP = 0.2
# Refinement, first and last: by how much the norm falls or rises, and the step, as shares of it.
_CHANGES, _STEPS = (0.1, 0.003), (0.1, 0.002)
_BISECTIONS = 8


def minimal_norm(
    logits_of: LogitsOf,
    images: Tensor,
    objective: QuotaObjective,
    steps: int = 100,
    first_norm: float = 0.5,
    clip: bool = False,
) -> tuple[Tensor, Tensor]:
    """Find short perturbations that reach an objective's quota; every image on its own.

    First the size of the norm: short descents inside a ball, each from where the last one ended,
    bisect for the smallest radius that suffices. Then direction and norm are refined together
    (Rony et al., "Decoupling Direction and Norm", 2019): after every gradient step the perturbation
    is put on a sphere that shrinks when the quota was reached and grows when not. Which pixels are
    aimed at is decided anew at every step: the cheapest that fill the quota, as the masks of
    "Proximal Splitting Adversarial Attacks for Semantic Segmentation" (Rony et al. 2023) do. At the
    end the best perturbation is shortened along its line.

    Args:
        logits_of: Differentiable map from images (N, 3, H, W) in [0, 1] to logits (N, K, H, W).
        images: (N, 3, H, W) in [0, 1].
        objective: What is to be reached; it must not be prepared for a budget.
        steps: Gradient steps. Defaults to 100.
        first_norm: Norm that is tried first, in [0, 1] units. Defaults to 0.5.
        clip: Whether perturbed images must stay in [0, 1]. Defaults to False.

    Returns:
        Perturbations (N, 3, H, W), 0 where none was found, and their norms (N,), float64: 0 where
        the quota is reached without attack, infinite where none was found.
    """
    search = _Search(logits_of, images, objective, images if clip else None)
    radius = search.shortest.new_full((len(images),), first_norm)
    delta, failed = torch.zeros_like(images), torch.zeros_like(radius)
    length = max(1, round(_SEARCH * steps / _ROUNDS))
    for _ in range(_ROUNDS):
        delta, reached = search.round(delta, radius, length)
        failed = torch.where(reached, failed, torch.maximum(failed, radius))
        shortest = search.shortest
        # A radius that failed may succeed later, from another start.
        failed = torch.minimum(failed, 0.95 * shortest)
        middle = (failed * shortest).sqrt()
        radius = torch.where(failed > 0, middle, shortest / _FACTOR)
        radius = torch.where(shortest.isinf(), failed * _FACTOR, radius)
    search.refine(radius, max(1, steps - _ROUNDS * length))
    return search.shorten()


class _Search:
    """The shortest perturbations so far that reach the quota, and ways to find shorter ones."""

    def __init__(
        self, logits_of: LogitsOf, images: Tensor, objective: QuotaObjective, box: Tensor | None
    ) -> None:
        self.logits_of = logits_of
        self.images = images
        self.objective = objective
        self.box = box
        self.best = torch.zeros_like(images)
        self.shortest = torch.full(
            (len(images),), torch.inf, dtype=torch.float64, device=images.device
        )

    def round(self, delta: Tensor, radius: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Descend inside a ball; return the end and where the quota was reached on the way."""
        ball = Ball(radius, self.box)
        delta = ball.project(_on_sphere(delta, radius))
        ever = torch.zeros_like(radius, dtype=torch.bool)
        for step in range(steps + 1):
            reached, slope = self._look(delta, step / steps)
            ever |= reached
            if step < steps:
                share = _SEARCH_STEP * (1 - step / steps)
                delta = ball.project(delta - per_image(share * radius, delta) * direction(slope))
        # Where a shorter perturbation is known, the next round starts from it.
        return torch.where(per_image(ever, delta).bool(), self.best, delta), ever

    def refine(self, radius: Tensor, steps: int) -> None:
        """Decoupled direction and norm, from the best perturbations."""
        found = self.shortest.isfinite()
        radius = torch.where(found, self.shortest, radius)
        delta = self.best
        for step in range(steps + 1):
            progress = step / steps
            reached, slope = self._look(delta, progress)
            if step == steps:
                break
            change, share = (
                first * (last / first) ** progress for first, last in (_CHANGES, _STEPS)
            )
            radius = torch.where(reached, norms(delta) * (1 - change), radius * (1 + change))
            delta = delta - per_image(share * radius, delta) * direction(slope)
            delta = Ball(radius, self.box).project(_on_sphere(delta, radius))

    @torch.no_grad()
    def shorten(self) -> tuple[Tensor, Tensor]:
        """Bisect for the shortest multiple of each best perturbation that reaches the quota."""
        low, high = torch.zeros_like(self.shortest), torch.ones_like(self.shortest)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            delta = self.best * per_image(middle, self.best)
            reached = self.objective.score(self.logits_of(self.images + delta)) == 0
            low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
        delta = self.best * per_image(high, self.best)
        return delta, torch.where(self.shortest.isfinite(), norms(delta), torch.inf)

    def _look(self, delta: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """Where the quota is reached, and the slope of the loss; the best is kept."""
        delta = delta.detach().requires_grad_(True)
        logits = self.logits_of(self.images + delta)
        loss = self.objective.loss(logits, progress)
        (slope,) = torch.autograd.grad(loss.sum(), delta)
        delta = delta.detach()
        reached = self.objective.score(logits.detach()) == 0
        length = norms(delta)
        better = reached & (length < self.shortest)
        self.shortest = torch.where(better, length, self.shortest)
        self.best = torch.where(per_image(better, delta).bool(), delta, self.best)
        return reached, slope


def _on_sphere(delta: Tensor, radius: Tensor) -> Tensor:
    """Perturbations of exactly these norms; 0 stays 0."""
    return delta * per_image(radius / norms(delta).clamp_min(1e-30), delta)
