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

from ..energy import compress, largest, reduce_to
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
    """Nearest up-sampling copies each element as often as it is repeated."""
    return transport(call, weight, {2, 3})


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
    kept = next(iter(weights.values())).shape
    if along is not None:
        kept = torch.broadcast_shapes(
            *(
                tuple(1 if dim in along else size for dim, size in enumerate(part.shape))
                for part in weights.values()
            )
        )
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
    if gain > 1 + 1e-9:
        call.record(math.sqrt(gain), "most copies of one element")
    return result


def _proxy_shape(shape: Any, along: set[int], kept: Any) -> tuple[int, ...]:
    return tuple(size if dim in along else kept[dim] for dim, size in enumerate(shape))
