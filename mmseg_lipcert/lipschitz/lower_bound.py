"""Measured lower bounds of a Lipschitz constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


def measured_lower_bound(model: Callable[[Tensor], Any], samples: Tensor, steps: int = 15) -> float:
    """Return the largest ratio `||f(x) - f(x')|| / ||x - x'||` or `||J(x) v|| / ||v||` found.

    At every sample the Jacobian's norm is approached by power iteration on `J^T J` with
    vector-Jacobian and Jacobian-vector products. A local ascent follows: pairs (x, x + d) climb
    the ratio by normalised gradient steps on both, and the power iteration is repeated at the
    point that they reach. Each of these numbers is a lower bound of the Lipschitz constant.

    Args:
        model: Model in evaluation mode. In float32 rounding appears as an expansion of about
            1e-6; in float64 convolutions are tens of times slower.
        samples: Inputs of shape (M, ...); they are used one by one.
        steps: Steps of each power iteration and of the ascent; one costs about five forward
            passes. Defaults to 15.

    Returns:
        The largest ratio, over the tensors of the output jointly.
    """

    def function(image: Tensor) -> Tensor:
        leaves = pytree.tree_leaves(model(image))
        return torch.cat([leaf.flatten() for leaf in leaves if isinstance(leaf, Tensor)])

    generator = torch.Generator().manual_seed(0)
    best = 0.0
    for sample in samples:
        image = sample.detach().unsqueeze(0)
        direction = torch.randn(image.shape, dtype=image.dtype, generator=generator)
        direction = direction.to(image.device)
        norm, direction = _jacobian_norm(function, image, direction, steps)
        ratio, image = _ascend(function, image, direction, steps)
        best = max(best, norm, ratio, _jacobian_norm(function, image, direction, steps)[0])
    return best


def _jacobian_norm(
    function: Callable[[Tensor], Tensor], image: Tensor, direction: Tensor, steps: int
) -> tuple[float, Tensor]:
    """Return a lower bound of the Jacobian's norm at an image, and the direction that gives it."""
    pull_back = torch.func.vjp(function, image)[1]
    best, best_direction = 0.0, direction
    for _ in range(steps):
        length = torch.linalg.vector_norm(direction)
        if float(length) == 0:
            break
        direction = direction / length
        change = torch.func.jvp(function, (image,), (direction,))[1]
        norm = float(torch.linalg.vector_norm(change).detach())
        if norm > best:
            best, best_direction = norm, direction
        direction = pull_back(change.detach())[0].detach()
    return best, best_direction


def _ascend(
    function: Callable[[Tensor], Tensor], image: Tensor, direction: Tensor, steps: int
) -> tuple[float, Tensor]:
    """Climb `||f(x + d) - f(x)|| / ||d||` over x and d; return the best ratio and its x."""
    scale = float(torch.linalg.vector_norm(image)) or 1.0
    point, step = image.clone(), 0.1 * scale * direction
    best, best_point = 0.0, image
    for _ in range(steps):
        point.requires_grad_(True)
        step.requires_grad_(True)
        with torch.enable_grad():
            change = torch.linalg.vector_norm(function(point + step) - function(point))
            ratio = change / torch.linalg.vector_norm(step)
        if float(ratio.detach()) > best:
            best, best_point = float(ratio.detach()), point.detach().clone()
        slopes = torch.autograd.grad(ratio, (point, step), materialize_grads=True)
        lengths = [torch.linalg.vector_norm(slope).clamp_min(1e-300) for slope in slopes]
        point, step = (
            (old + 0.02 * scale * slope / length).detach()
            for old, slope, length in zip((point, step), slopes, lengths, strict=True)
        )
    return best, best_point
