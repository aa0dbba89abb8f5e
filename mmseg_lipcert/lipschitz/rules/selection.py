"""Operations that only copy elements: every result is one element of one source, or constant.

With `y_j = x_pi(j)`, `sum_j W_j dy_j^2 = sum_i (sum_{j: pi(j)=i} W_j) dx_i^2`: exact, and the
weights of the source are the vector-Jacobian product of the operation with the weights of the
result. Disjoint parts of a split thereby give their source the maximum, overlapping ones the sum.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.utils import _pytree as pytree

from ..energy import MOST_ENTRIES, compress, largest, maximum_over, reduce_to
from .call import Call, ResultWeight, rule

PERMUTATIONS = (
    "view",
    "_unsafe_view",
    "reshape",
    "_reshape_alias",
    "flatten",
    "unflatten",
    "permute",
    "transpose",
    "movedim",
    "t",
    "numpy_T",
    "squeeze",
    "unsqueeze",
    "pixel_shuffle",
    "pixel_unshuffle",
    "channel_shuffle",
    "rot90",
)

# Operations that act along the dimensions in their argument and keep the others as they are.
ALONG = {
    "slice": "dim",
    "narrow": "dim",
    "split": "dim",
    "split_with_sizes": "dim",
    "chunk": "dim",
    "cat": "dim",
    "flip": "dims",
    "roll": "dims",
    "slice_scatter": "dim",
}

OTHERS = (
    "select",
    "unbind",
    "stack",
    "expand",
    "repeat",
    "tile",
    "select_scatter",
    "unfold",
    "im2col",
    "tril",
    "triu",
    "diagonal",
)

PADDINGS = (
    "pad",
    "constant_pad_nd",
    "reflection_pad1d",
    "reflection_pad2d",
    "replication_pad1d",
    "replication_pad2d",
    "_pad_circular",
)


@rule(*PERMUTATIONS)
def permutation(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Each element of the source is moved to one place of the result."""
    source = call.live()[0]
    if call.node.meta["val"].dtype != source.meta["val"].dtype:
        raise call.unbounded("the bits of the values are read as another type")
    if weight.numel() == 1:
        return [(source, weight.reshape((1,) * len(call.shape(source))))]
    return transport(call, weight, None)


@rule(*OTHERS)
def selection(call: Call, weight: ResultWeight) -> list[tuple[Node, Tensor]]:
    """Each element of the result is one element of a source, or constant."""
    return transport(call, weight, None)


@rule("index_select", "index", "gather")
def constant_index(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Indexing by constants; an index that depends on the input is not continuous."""
    call.source("self")
    return transport(call, weight, None)


@rule("copy")
def copy(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """The second tensor, broadcast to the shape of the first."""
    if not call.is_live(call["src"]):
        return []
    return [(call["src"], reduce_to(weight, call.shape(), call.shape(call["src"])))]


@rule(*ALONG)
def selection_along(call: Call, weight: ResultWeight) -> list[tuple[Node, Tensor]]:
    """Copies along some dimensions, the same for all indices of the others."""
    dims = call[ALONG[call.operation.removeprefix("aten::")]]
    rank = len(call.shape(call.live()[0]))
    dims = [dims] if isinstance(dims, int) else list(dims) or list(range(rank))
    return transport(call, weight, {dim % rank for dim in dims})


@rule(*PADDINGS)
def padding(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Padding by constants, or by copies of elements, which add to the weight of the original."""
    rank = len(call.shape())
    amounts = call["pad"] if "pad" in call.arguments else call["padding"]
    return transport(call, weight, set(range(rank - len(amounts) // 2, rank)))


@rule("upsample_nearest2d", "_upsample_nearest_exact2d")
def nearest(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Nearest up-sampling copies each element as often as it is repeated.

    Where an element comes from is read off the forward pass, in the precision that runs: the
    backward pass of PyTorch may name another element when the factor is slightly above 1. So may
    the forward pass of another memory layout: the larger of both weights counts.
    """
    source = call.source(call.node.target._schema.arguments[0].name)
    value = source.meta["val"]
    height, width = call.shape(source)[2:]
    rows = torch.arange(height, dtype=value.dtype, device=value.device)[:, None].expand(-1, width)
    columns = torch.arange(width, dtype=value.dtype, device=value.device).expand(height, -1)
    positions = torch.stack([rows, columns, rows])[None]
    shares = []
    for layout in (torch.contiguous_format, torch.channels_last):
        image = positions.contiguous(memory_format=layout)
        found = call.node.target(image, *call.node.args[1:], **call.node.kwargs).cpu().long()
        if not (
            (found[0, 0] == found[0, 0, :, :1]).all() and (found[0, 1] == found[0, 1, :1]).all()
        ):
            raise call.unbounded("its rows are not the same in all columns")
        share = _gathered(weight, 2, found[0, 0, :, 0], height)
        shares.append(_gathered(share, 3, found[0, 1, 0], width))
    share = torch.maximum(*shares)
    _record_copies(call, largest(share), largest(weight))
    return [(source, share)]


def _gathered(weight: Tensor, dim: int, origin: Tensor, size: int) -> Tensor:
    """Add up along a dimension the weights of all copies of each of `size` elements."""
    shape = list(weight.shape)
    if weight.numel() // shape[dim] * size > MOST_ENTRIES:
        weight = maximum_over(weight, range(2, weight.dim()))
        shape = list(weight.shape)
    spread = weight.expand(*shape[:dim], len(origin), *shape[dim + 1 :])
    empty = torch.zeros(*shape[:dim], size, *shape[dim + 1 :], dtype=weight.dtype)
    return compress(empty.index_add(dim, origin, spread))


@rule("where", "masked_fill")
def where(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Each element of the result is one of two sources, by a mask that is constant."""
    if call.operation == "aten::where":
        mask, parts = call["condition"], (call["self"], call["other"])
    else:
        mask, parts = call["mask"], (call["value"], call["self"])
    if call.is_live(mask):
        raise call.unbounded("the mask depends on the input: a switch is not continuous")
    mask = mask.detach().to("cpu", torch.bool)
    shares = []
    for node, chosen in zip(parts, (mask, ~mask), strict=True):
        if call.is_live(node):
            share = torch.where(chosen, weight, 0.0)
            shares.append((node, reduce_to(share, call.shape(), call.shape(node))))
    return shares


def transport(
    call: Call, weight: ResultWeight, along: set[int] | None
) -> list[tuple[Node, Tensor]]:
    """Compute the vector-Jacobian product of a copying operation with the weights.

    Args:
        call: The operation.
        weight: Weights of its results.
        along: Dimensions that it acts along; the others keep the compressed size of the weights.
            None where all dimensions matter.
    """
    weights = weight if isinstance(weight, dict) else {0: weight}
    if along is not None:
        if _kept(weights, along).numel() * _extent(call, along) > MOST_ENTRIES:
            weights = {
                index: maximum_over(part, [dim for dim in range(part.dim()) if dim not in along])
                for index, part in weights.items()
            }
        kept = _kept(weights, along)
    proxies: dict[Node, Tensor] = {}

    def proxy(leaf: Any) -> Any:
        if not call.is_live(leaf):
            if not isinstance(leaf, Tensor):
                return leaf
            if along is None or not leaf.is_floating_point():
                return leaf.detach().cpu()
            return leaf.new_zeros(_proxy_shape(leaf.shape, along, kept), device="cpu")
        if leaf not in proxies:
            shape = call.shape(leaf)
            if along is not None:
                shape = _proxy_shape(shape, along, kept)
            proxies[leaf] = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
        return proxies[leaf]

    differentiable = any(part.requires_grad for part in weights.values())
    with torch.enable_grad():
        resolved = call.graph.resolve((call.node.args, call.node.kwargs))
        args, kwargs = pytree.tree_map(proxy, resolved)
        results = call.node.target(*args, **kwargs)
        results = results if isinstance(results, list | tuple) else [results]
        energy = sum((results[index] * part).sum() for index, part in weights.items())
        nodes = list(proxies)
        gradients = torch.autograd.grad(
            energy, list(proxies.values()), create_graph=differentiable, allow_unused=True
        )
    result = []
    before = max(largest(part) for part in weights.values())
    gain = 0.0
    for node, gradient in zip(nodes, gradients, strict=True):
        if gradient is not None:
            gradient = compress(gradient)
            gain = max(gain, largest(gradient) / before if before > 0 else 0.0)
            result.append((node, gradient))
    _record_copies(call, gain, 1.0)
    return result


def _record_copies(call: Call, after: float, before: float) -> None:
    if after > before * (1 + 1e-9):
        call.record(math.sqrt(after / before), "most copies of one element")


def _kept(weights: dict[int, Tensor], along: set[int]) -> torch.Size:
    """Shape of the weights in the dimensions that the operation does not act along."""
    return torch.broadcast_shapes(
        *(
            tuple(1 if dim in along else size for dim, size in enumerate(part.shape))
            for part in weights.values()
        )
    )


def _extent(call: Call, along: set[int]) -> int:
    """Number of elements along the dimensions that the operation acts along."""
    return max(math.prod(call.shape(node)[dim] for dim in along) for node in call.live())


def _proxy_shape(shape: Any, along: set[int], kept: Any) -> tuple[int, ...]:
    return tuple(size if dim in along else kept[dim] for dim, size in enumerate(shape))
