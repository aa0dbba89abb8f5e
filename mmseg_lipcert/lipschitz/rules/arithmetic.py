"""Rules of sums, products with constants, and means."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.fx import Node

from ..energy import maximum_over, reduce_to
from .call import Call, constant, rule
from .residual import centering_dims, match_residual


@rule("add", "sub", "rsub")
def add(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Sum `a + alpha b`: `W / theta` and `W alpha^2 / (1 - theta)`, or a joint proof.

    Any theta in (0, 1) is sound by the Cauchy-Schwarz inequality; the audit chooses it. A
    residual block `x - B act(A x + b)` with B near the adjoint of A, and the subtraction of a
    mean, have proofs of their own.
    """
    first, second = call["self"], call["other"]
    scale = float(call.arguments.get("alpha", 1))
    # self + alpha other, self - alpha other, other - alpha self
    factors = (scale, 1.0) if call.operation == "aten::rsub" else (1.0, scale)
    shape = call.shape()
    operands = [
        (node, abs(factor))
        for node, factor in zip((first, second), factors, strict=True)
        if call.is_live(node)
    ]
    if len(operands) == 1:
        node, factor = operands[0]
        return [(node, reduce_to(weight * factor**2, shape, call.shape(node)))]
    dims = centering_dims(call)
    if dims is not None:
        call.record(1.0, "subtraction of the mean: a projection")
        return [(first, maximum_over(weight, dims))]
    residual = match_residual(call)
    if residual is not None:
        node, bound, method = residual
        call.record(bound, method)
        return [(node, (weight.max() * bound**2).reshape((1,) * len(shape)))]
    thetas = call.thetas[call.node]
    call.record(
        math.hypot(*(factor for _, factor in operands)),
        f"sum, theta={float(thetas[0].detach()):.3f}",
    )
    return [
        (node, reduce_to(weight * factor**2 / part, shape, call.shape(node)))
        for (node, factor), part in zip(operands, thetas, strict=True)
    ]


@rule("mul")
def multiply(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Product with a constant, element by element."""
    first, second = call["self"], call["other"]
    node, other = (first, second) if call.is_live(first) else (second, first)
    if call.is_live(other):
        raise call.unbounded("a product of two tensors that depend on the input is not Lipschitz")
    return _scaled(call, weight, node, constant(other).abs())


@rule("div")
def divide(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Quotient by a constant, element by element."""
    if call.is_live(call["other"]):
        raise call.unbounded("division by a tensor that depends on the input is not Lipschitz")
    if call.arguments.get("rounding_mode") is not None:
        raise call.unbounded("a rounded quotient is not continuous")
    return _scaled(call, weight, call["self"], constant(call["other"]).abs().reciprocal())


def _scaled(call: Call, weight: Tensor, node: Node, factor: Tensor) -> list[tuple[Node, Tensor]]:
    if not torch.isfinite(factor).all():
        raise call.unbounded("the constant factor is not finite")
    call.record(float(factor.max()), "largest factor")
    return [(node, reduce_to(weight * factor**2, call.shape(), call.shape(node)))]


@rule("mean", "sum")
def mean(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Mean of n elements: norm `1 / sqrt(n)`; sum: `sqrt(n)`."""
    source = call.source("self")
    shape = call.shape(source)
    dims = call.arguments.get("dim")
    dims = range(len(shape)) if not dims else sorted(dim % len(shape) for dim in dims)
    count = math.prod(shape[dim] for dim in dims)
    if not call.arguments.get("keepdim", False):
        for dim in dims:
            weight = weight.unsqueeze(dim)
    squared = float(count) if call.operation == "aten::sum" else 1 / count
    call.record(math.sqrt(squared), "row norm")
    return [(source, weight * squared)]
