"""Blocks whose bound is proved jointly and not composed from their parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from ..conv_norms import conv_group_bounds
from ..norms import matrix_norm_bound
from .call import Call, constant, pair
from .elementwise import activation_slopes

_SUMS = ("aten::add", "aten::sub", "aten::rsub")


def centering_dims(call: Call) -> list[int] | None:
    """Return the dimensions of a subtraction `x - mean(x, dims, keepdim=True)`, else None.

    It is the orthogonal projection onto the tensors of mean zero.
    """
    first, second = call["self"], call["other"]
    if call.operation != "aten::sub" or float(call["alpha"]) != 1:
        return None
    inner = call.producer(second)
    if inner is None or inner.operation != "aten::mean" or inner["self"] is not first:
        return None
    rank = len(call.shape(first))
    if len(call.shape(second)) != rank:
        return None
    return [dim % rank for dim in inner.arguments.get("dim") or range(rank)]


def match_residual(call: Call) -> tuple[Node, float, str] | None:
    """Recognise `x - V act(U x + b)` with V near the adjoint of U, and bound it from the weights.

    With the slopes of the activation in [low, high] and `V = U^T L + E` for a diagonal L >= 0
    (per channel), the Jacobian is `I - M^T D M - E D U` with `M = L^(1/2) U` and a diagonal D in
    [low, high], hence with `m = ||M||^2`

        ||J|| <= max(1 - min(low, 0) m, high m - 1) + max(|low|, |high|) ||E|| ||U||.

    It is 1 for the SDP-based layers `x - 2 W T^-1 relu(W^T x + b)` whose condition
    `W^T W <= T` makes `m <= 2` (Araujo et al., "A Unified Algebraic Perspective on Lipschitz
    Neural Networks", ICLR 2023). The condition is thereby checked on the actual weights.

    Args:
        call: A sum of two live tensors.

    Returns:
        The block's input, its bound and how it was obtained; None for other sums.
    """
    key = (call.node, "residual")
    if key not in call.cache:
        call.cache[key] = _match(call)
    return call.cache[key]


def _match(call: Call) -> tuple[Node, float, str] | None:
    alpha = float(call["alpha"])
    first, second = call["self"], call["other"]
    # The factors of (self, other) in the sum.
    factors = {"aten::add": (1.0, alpha), "aten::sub": (1.0, -alpha), "aten::rsub": (-alpha, 1.0)}
    own, other = factors[call.operation]
    for skip, branch, skip_factor, factor in (
        (first, second, own, other),
        (second, first, other, own),
    ):
        if skip_factor == 1.0 and call.shape(skip) == call.shape(branch):
            bound = _branch_bound(call, skip, branch, factor)
            if bound is not None:
                return skip, bound, "residual block, condition verified on the weights"
    return None


def _branch_bound(call: Call, skip: Node, branch: Node, factor: float) -> float | None:
    after, outer = _scales(call, branch)
    if outer is None or after.numel() != 1:
        return None
    inner_scale, activation = _scales(call, _operand(outer))
    slopes = None if activation is None else activation_slopes(activation)
    if activation is None or slopes is None:
        return None
    low, high = slopes
    before, first = _scales(call, activation["self"], allow_bias=True)
    if first is None or _without_empty_padding(call, _operand(first)) is not skip:
        return None
    pair = _adjoint_pair(first, outer)
    if pair is None:
        return None
    # Kernels in the layout (inner channels, ...): U, and V transposed.
    kernel, adjoint, norm = pair
    inner_row, before_row = _per_row(inner_scale, first), _per_row(before, first)
    if inner_row is None or before_row is None:
        return None
    shape = (-1,) + (1,) * (kernel.dim() - 1)
    kernel = kernel * before_row.reshape(shape)
    adjoint = adjoint * (-factor * float(after)) * inner_row.reshape(shape)
    rest = tuple(range(1, kernel.dim()))
    size = (kernel * kernel).sum(rest)
    scale = ((kernel * adjoint).sum(rest) / torch.where(size > 0, size, 1.0)).clamp_min(0)
    error = adjoint - scale.reshape(shape) * kernel
    squared = norm(scale.sqrt().reshape(shape) * kernel) ** 2
    bound = max(1.0 - min(low, 0.0) * squared, high * squared - 1.0)
    return bound + max(abs(low), abs(high)) * norm(error) * norm(kernel)


def _scales(call: Call, node: Any, allow_bias: bool = False) -> tuple[Tensor, Call | None]:
    """Follow products with constants (and sums, if allowed) up to the operation behind them."""
    scale = torch.ones((), dtype=torch.float64)
    while True:
        inner = call.producer(node)
        if inner is None:
            return scale, None
        if inner.operation in ("aten::mul", "aten::div") and len(inner.live()) == 1:
            node = inner.live()[0]
            if inner.shape() != call.shape(node):
                return scale, None
            if inner.operation == "aten::mul":
                other = inner["other"] if inner["self"] is node else inner["self"]
                scale = scale * constant(other)
            elif inner["self"] is node and inner.arguments.get("rounding_mode") is None:
                scale = scale / constant(inner["other"])
            else:
                return scale, None
        elif _without_empty_padding(call, node) is not node:
            node = _without_empty_padding(call, node)
        elif (
            allow_bias
            and inner.operation in _SUMS[:2]
            and inner.live() == [inner["self"]]
            and inner.shape() == call.shape(inner["self"])
        ):
            node = inner["self"]
        else:
            return scale, inner


def _without_empty_padding(call: Call, node: Any) -> Any:
    inner = call.producer(node)
    if inner is not None and inner.operation == "aten::pad" and not any(inner["pad"]):
        return inner["self"]
    return node


def _operand(call: Call) -> Any:
    return call.arguments.get("input", call.arguments.get("self"))


def _per_row(scale: Tensor, first: Call) -> Tensor | None:
    """Return a scale of the inner tensor as one factor per channel, None if it varies otherwise."""
    shape = first.shape()
    channel = len(shape) - 1 if first.operation == "aten::linear" else 1
    scale = scale.reshape((1,) * (len(shape) - scale.dim()) + tuple(scale.shape))
    if math.prod(scale.shape) != scale.shape[channel]:
        return None
    return scale.flatten().expand(shape[channel])


def _adjoint_pair(
    first: Call, outer: Call
) -> tuple[Tensor, Tensor, Callable[[Tensor], float]] | None:
    """Return the weights of two layers that would be adjoint if the weights were equal.

    Both come in the layout of the first (inner channels, input channels / groups, ...), together
    with the norm of such a weight.
    """
    if len(first.live()) != 1 or len(outer.live()) != 1:
        return None
    if first.operation == outer.operation == "aten::linear":
        return constant(first["weight"]), constant(outer["weight"]).T, matrix_norm_bound
    if first.operation != "aten::conv2d" or isinstance(first["padding"], str):
        return None
    if len(first.shape()) != 4:  # of one image without a batch, other dimensions are channels
        return None
    kernel = constant(first["weight"])
    geometry = [pair(first[name]) for name in ("stride", "dilation", "padding")]
    groups = int(first["groups"])
    adjoint = constant(outer["weight"])
    if int(outer["groups"]) != groups:
        return None
    if outer.operation == "aten::conv_transpose2d":
        other = [pair(outer[name]) for name in ("stride", "dilation", "padding")]
    elif outer.operation == "aten::conv2d" and not isinstance(outer["padding"], str):
        # At stride 1 a convolution is the transposed one of the flipped, transposed kernel.
        stride, dilation, padding = (
            pair(outer[name]) for name in ("stride", "dilation", "padding")
        )
        if stride != (1, 1):
            return None
        rows, columns = (
            hole * (size - 1) - inset
            for hole, size, inset in zip(dilation, adjoint.shape[2:], padding, strict=True)
        )
        other = [stride, dilation, (rows, columns)]
        adjoint = adjoint.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1).flip(2, 3)
    else:
        return None
    if other != geometry or adjoint.shape != kernel.shape:
        return None
    stride, dilation, _ = geometry
    return kernel, adjoint, lambda w: float(conv_group_bounds(w, stride, dilation, groups).max())
