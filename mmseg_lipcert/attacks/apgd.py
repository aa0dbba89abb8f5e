"""Descent that chooses its own step length."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .ball import Ball, per_image
from .found import Found
from .objectives import Objective
from .pgd import LogitsOf, direction

_MOMENTUM = 0.75
_SUCCESSES = 0.75


def apgd(
    logits_of: LogitsOf,
    images: Tensor,
    objective: Objective,
    ball: Ball,
    steps: int = 40,
    start: Tensor | None = None,
) -> Found:
    """Descend with momentum; halve the step where it does not help and go on from the best point.

    Croce & Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", 2020, algorithm 1, for l2; every image of the batch has its own step
    and its own best point.

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
    previous = delta
    checks = _checkpoints(steps)
    length = 2 * ball.radius
    lowest = torch.full_like(ball.radius, torch.inf)
    lowest_delta, lowest_slope = delta, torch.zeros_like(delta)
    last_loss, successes = lowest, torch.zeros_like(lowest)
    halved, lowest_then = torch.zeros_like(lowest, dtype=torch.bool), lowest
    for step in range(steps + 1):
        delta = delta.detach().requires_grad_(True)
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
        delta, loss = delta.detach(), loss.detach().to(lowest)
        better = loss < lowest
        wide = per_image(better, delta).bool()
        lowest = torch.where(better, loss, lowest)
        lowest_delta = torch.where(wide, delta, lowest_delta)
        lowest_slope = torch.where(wide, slope, lowest_slope)
        successes = successes + (loss < last_loss)
        last_loss = loss
        if step in checks:
            stuck = successes < _SUCCESSES * (step - checks[step])
            stuck |= ~halved & (lowest >= lowest_then)
            length = torch.where(stuck, length / 2, length)
            wide = per_image(stuck, delta).bool()
            delta = torch.where(wide, lowest_delta, delta)
            slope = torch.where(wide, lowest_slope, slope)
            previous = torch.where(wide, lowest_delta, previous)
            halved, lowest_then, successes = stuck, lowest, torch.zeros_like(successes)
        ahead = ball.project(delta - per_image(length, slope) * direction(slope))
        share = _MOMENTUM if step else 1.0
        step_on = delta + share * (ahead - delta) + (1 - share) * (delta - previous)
        previous, delta = delta, ball.project(step_on)
    return found


def _checkpoints(steps: int) -> dict[int, int]:
    """Steps at which the step length is judged, each with the one before it."""
    shares, checks = [0.0, 0.22], {}
    while shares[-1] < 1:
        before, now = (math.ceil(share * steps) for share in shares[-2:])
        if now > before:
            checks[now] = before
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return checks
