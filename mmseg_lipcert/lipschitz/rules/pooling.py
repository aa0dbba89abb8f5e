"""Rules of pooling layers."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Node

from ..energy import compress, largest, maximum_over
from ..norms import matrix_norm_bound
from .call import Call, ResultWeight, pair, rule, without_indices


@rule("max_pool2d", "max_pool2d_with_indices")
def max_pool(call: Call, weight: ResultWeight) -> list[tuple[Node, Tensor]]:
    """Max pooling: `|dmax|^2 <= sum of d_i^2 over the window`; overlapping windows add.

    Its norm is the square root of the largest number of windows that cover a pixel: 1 for
    windows that do not overlap.
    """
    source = call.source("self")
    weight = without_indices(call, weight)
    kernel, padding, dilation = (
        pair(call[name]) for name in ("kernel_size", "padding", "dilation")
    )
    stride = pair(call["stride"]) if call["stride"] else kernel
    height, width = call.shape(source)[-2:]
    rows, columns = call.shape()[-2:]
    lead = weight.shape[:-2]
    spatial = weight.expand(*lead, rows, columns).reshape(-1, 1, rows, columns)
    ones = torch.ones(1, 1, *kernel, dtype=torch.float64)
    cover = F.conv_transpose2d(spatial, ones, stride=stride, dilation=dilation)
    top, left = padding
    # Windows end after the padding, or (with a remainder) before the border.
    missing = (height + top - cover.shape[-2], width + left - cover.shape[-1])
    cover = F.pad(cover, (0, max(missing[1], 0), 0, max(missing[0], 0)))
    cover = compress(
        cover[..., top : top + height, left : left + width].reshape(*lead, height, width)
    )
    _record_cover(call, cover, weight)
    return [(source, cover)]


def _record_cover(call: Call, cover: Tensor, weight: Tensor) -> None:
    call.record(math.sqrt(largest(cover) / largest(weight)), "most windows over one pixel")


@rule("adaptive_max_pool2d")
def adaptive_max_pool(call: Call, weight: ResultWeight) -> list[tuple[Node, Tensor]]:
    """Adaptive max pooling: as max pooling, with windows that are read off its forward pass."""
    source = call.source("self")
    weight = without_indices(call, weight)
    rank = weight.dim()
    cover = weight.expand(*weight.shape[:-2], *call.shape()[-2:])
    for dim, result in ((rank - 2, call.shape()[-2]), (rank - 1, call.shape()[-1])):
        size = call.shape(source)[dim]
        basis = torch.eye(size, dtype=torch.float64).view(size, 1, size, 1)
        windows = F.adaptive_max_pool2d(basis, (result, 1)).view(size, result)
        cover = torch.movedim(torch.movedim(cover, dim, -1) @ windows.T, -1, dim)
    _record_cover(call, cover, weight)
    return [(source, cover)]


@rule("avg_pool2d", "adaptive_avg_pool2d", "_adaptive_avg_pool2d")
def avg_pool(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Average pooling: the product of the spectral norms of its two 1-D matrices."""
    source = call.source("self")
    sizes, results = call.shape(source)[-2:], call.shape()[-2:]
    norm = 1.0
    for axis in (0, 1):
        norm *= _axis_norm(sizes[axis], _axis_pooling(call, axis, results[axis]))
    divisor = call.arguments.get("divisor_override")
    if divisor is not None:
        norm /= abs(float(divisor))
    call.record(norm, "spectral norms of the 1-D matrices")
    rank = weight.dim()
    return [(source, maximum_over(weight, [rank - 2, rank - 1]) * norm**2)]


def _axis_pooling(call: Call, axis: int, result: int) -> Callable[[Tensor], Tensor]:
    if call.operation != "aten::avg_pool2d":
        return lambda basis: F.adaptive_avg_pool2d(basis, (result, 1))
    kernel, padding = pair(call["kernel_size"]), pair(call["padding"])
    stride = pair(call["stride"]) if call["stride"] else kernel
    return lambda basis: F.avg_pool2d(
        basis,
        (kernel[axis], 1),
        (stride[axis], 1),
        (padding[axis], 0),
        bool(call["ceil_mode"]),
        bool(call["count_include_pad"]),
        None if call["divisor_override"] is None else 1,
    )


def _axis_norm(size: int, pooling: Callable[[Tensor], Tensor]) -> float:
    basis = torch.eye(size, dtype=torch.float64).view(size, 1, size, 1)
    return matrix_norm_bound(pooling(basis).reshape(size, -1))
