"""Projected gradient descent with normalized steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .ball import Ball, norms, per_image
from .found import Found
from .objectives import Objective

LogitsOf = Callable[[Tensor], Tensor]


def pgd(
    logits_of: LogitsOf,
    images: Tensor,
    objective: Objective,
    ball: Ball,
    steps: int = 40,
    start: Tensor | None = None,
) -> Found:
    """Descend on an objective inside a ball; every image of the batch on its own.

    Steps are normalized gradients whose length falls linearly from half of the radius; the best
    point on the way is returned (Madry et al., "Towards Deep Learning Models Resistant to
    Adversarial Attacks", 2018, in l2).

    Args:
        logits_of: Differentiable map from images (N, 3, H, W) in [0, 1] to logits (N, K, H, W).
        images: (N, 3, H, W) in [0, 1].
        objective: What is descended on; prepared here.
        ball: What a perturbation may be.
        steps: Gradient steps. Defaults to 40.
        start: First perturbation (N, 3, H, W). Defaults to none, 0.

    Returns:
        The perturbations with the smallest score.
    """
    found = Found.nothing(images)
    delta = torch.zeros_like(images) if start is None else ball.project(start)
    for step in range(steps + 1):
        delta.requires_grad_(True)
        logits = logits_of(images + delta)
        if step == 0:
            with torch.no_grad():
                clean = logits.detach() if start is None else logits_of(images)
                objective.prepare(clean, ball.radius)
        loss = objective.loss(logits, step / steps if steps else 1.0)
        found.keep(delta, objective.score(logits.detach()), loss)
        if step == steps:
            break
        (slope,) = torch.autograd.grad(loss.sum(), delta)
        length = ball.radius / 2 * (1 - step / steps)
        delta = ball.project(delta.detach() - per_image(length, slope) * direction(slope))
    return found


def direction(slope: Tensor) -> Tensor:
    """Gradients of a batch with norm 1; 0 stays 0."""
    return slope / per_image(norms(slope).clamp_min(1e-30), slope)
