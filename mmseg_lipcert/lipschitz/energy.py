"""Weights of the energy recursion: nonnegative, one per element, stored without repetition.

A weight tensor W of a node v stands in `||dout||^2 <= sum_v sum_i W(v)_i dv_i^2`. It has as many
dimensions as v, of full size or of size 1 where all its entries are equal.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Weights above are all that is known of an element below: rounding to zero would prove too much.
FLOOR = 1e-100
CEILING = 1e200

# Most entries (128 MiB) of weights that differ both between channels and between pixels.
MOST_ENTRIES = 1 << 24


def uniform(value: float | Tensor, dims: int) -> Tensor:
    """Return the weight that is the same for every element of a tensor of `dims` dimensions."""
    return torch.as_tensor(value, dtype=torch.float64).reshape((1,) * dims)


def compress(weight: Tensor) -> Tensor:
    """Store each dimension along which the weights are equal with size 1."""
    for dim, size in enumerate(weight.shape):
        if size > 1:
            high = weight.amax(dim, keepdim=True)
            if bool((high - weight.amin(dim, keepdim=True) <= 1e-12 * high).detach().all()):
                weight = high
    return weight


def total(first: Tensor, second: Tensor) -> Tensor:
    """Add the weights of two uses of a tensor."""
    shape = torch.broadcast_shapes(first.shape, second.shape)
    if shape.numel() > MOST_ENTRIES:
        first, second = (maximum_over(part, range(2, part.dim())) for part in (first, second))
    return first + second


def reduce_to(weight: Tensor, shape: Sequence[int], source_shape: Sequence[int]) -> Tensor:
    """Weights of a tensor that is broadcast from `source_shape` to `shape`: repetitions add."""
    for _ in range(len(shape) - len(source_shape)):
        weight = weight.sum(0) * (shape[0] if weight.shape[0] == 1 else 1)
        shape = shape[1:]
    for dim, (size, source) in enumerate(zip(shape, source_shape, strict=True)):
        if source == 1 and size > 1:
            repeats = size if weight.shape[dim] == 1 else 1
            weight = weight.sum(dim, keepdim=True) * repeats
    return weight


def largest(weight: Tensor) -> float:
    """Largest of some weights."""
    return float(weight.detach().max())


def maximum_over(weight: Tensor, dims: Sequence[int]) -> Tensor:
    """Largest weight over some dimensions, which are kept with size 1."""
    return weight.amax(dim=tuple(dims), keepdim=True) if len(dims) else weight
