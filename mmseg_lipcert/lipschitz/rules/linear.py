"""Rules of linear layers: convolutions, matrices, interpolation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx import Node

from ..conv_norms import circular_conv_group_bounds, conv_group_bounds
from ..energy import maximum_over
from ..norms import interpolation_matrix, matrix_norm_bound
from .call import Call, constant, pair, rule


@rule("conv2d", "conv_transpose2d", "convolution")
def convolution(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Convolution: the largest weight of a group's output channels times its squared norm.

    Where the weights of the output channels differ (a batch norm follows, say), the kernel with
    rows scaled by their roots is bounded as well, and the smaller result counts.
    A circular padding in front is bounded jointly with the convolution: as a map of its own it
    would count the copied border twice.
    """
    source = call.source("input")
    if len(call.shape(source)) != 4:
        raise call.unbounded(f"only 2-D convolutions have a rule, got {call.shape(source)}")
    transposed = call.operation == "aten::conv_transpose2d" or call.arguments.get("transposed")
    kernel = constant(call["weight"])
    groups = int(call["groups"])
    stride, dilation = pair(call["stride"]), pair(call["dilation"])
    circular = None if transposed else _circular_padding(call, source)
    if circular is None:

        def bounds(scaled: Tensor) -> Tensor:
            return conv_group_bounds(scaled, stride, dilation, groups)
    else:
        source, pads = circular

        def bounds(scaled: Tensor) -> Tensor:
            sizes = call.shape(source)[2:]
            return circular_conv_group_bounds(scaled, sizes, pads, stride, dilation, groups)

    # Weights per output channel; (groups, channels of one group).
    outputs = call.shape()[1]
    rows = maximum_over(weight, [0, 2, 3]).expand(1, outputs, 1, 1).reshape(groups, -1)

    def scaled_bounds(scales: Tensor) -> Tensor:
        if transposed:
            per_group = kernel.unflatten(0, (groups, -1)) * scales[:, None, :, None, None]
            return bounds(per_group.flatten(0, 1))
        return bounds(kernel * scales.reshape(-1, 1, 1, 1))

    energy = _row_weighted(call, rows, lambda: bounds(kernel), scaled_bounds)
    label = "transposed conv" if transposed else "conv"
    norm = float(call.cache[call.node, "norm"].max())
    call.record(norm, f"{label}, kernel bound" + (", circular" if circular else ""))
    channels = call.shape(source)[1]
    spread = energy[:, None].expand(groups, channels // groups).reshape(1, channels, 1, 1)
    return [(source, spread if groups > 1 else spread[:, :1])]


def _circular_padding(
    call: Call, source: Node
) -> tuple[Node, tuple[tuple[int, int], tuple[int, int]]] | None:
    """Return the padded tensor and the amounts, if an unpadded conv follows a circular padding."""
    inner = call.producer(source)
    if inner is None or call["padding"] not in (0, [0], [0, 0], "valid"):
        return None
    if inner.operation == "aten::pad" and inner["mode"] != "circular":
        return None
    if inner.operation not in ("aten::pad", "aten::_pad_circular") or len(inner["pad"]) != 4:
        return None
    left, right, top, bottom = inner["pad"]
    if min(left, right, top, bottom) < 0:
        return None
    return inner["self"], ((top, bottom), (left, right))


def _row_weighted(
    call: Call, rows: Tensor, plain: Callable[[], Tensor], scaled: Callable[[Tensor], Tensor]
) -> Tensor:
    """Bound the squared norms of the row-weighted maps `diag(sqrt(rows)) A` of each group.

    Args:
        call: The operation; its cache keeps the norms, and the gain of the row scaling.
        rows: Weights of the rows (groups, n).
        plain: Returns the norms of the groups of A.
        scaled: Returns the same with the rows of A multiplied by its argument (groups, n).
    """
    key = (call.node, "norm")
    if key not in call.cache:
        call.cache[key] = plain()
    largest = rows.amax(1)
    squared = call.cache[key] ** 2
    # Whatever the rows' weights become while thetas are chosen, they keep nearly this pattern;
    # the final pass has an empty "gain".
    key = (call.node, "gain")
    if key not in call.cache:
        pattern = rows.detach() / largest.detach().clamp_min(1e-300)[:, None]
        gain = torch.ones_like(squared)
        if bool((pattern < 1 - 1e-3).any()):
            safe = torch.where(squared > 0, squared, 1.0)
            gain = (scaled(pattern.sqrt()) ** 2 / safe).clamp_max(1.0)
        call.cache[key] = gain
    return largest * squared * call.cache[key]


@rule("linear", "addmm", "mm", "matmul", "bmm", "baddbmm")
def matrix(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Product with a constant matrix, on either side."""
    names = {
        "aten::linear": ("input", "weight"),
        "aten::addmm": ("mat1", "mat2"),
        "aten::baddbmm": ("batch1", "batch2"),
        "aten::matmul": ("self", "other"),
    }.get(call.operation, ("self", "mat2"))
    left, right = (call[name] for name in names)
    if len(call.live()) != 1 or call.live()[0] not in (left, right):
        raise call.unbounded("a product of two tensors that depend on the input is not Lipschitz")
    on_the_left = call.is_live(left)
    matrices = constant(right if on_the_left else left)
    if not on_the_left:
        matrices = matrices.movedim(-1, -2) if matrices.dim() > 1 else matrices[:, None]
    elif call.operation == "aten::linear":
        matrices = matrices.T
    elif matrices.dim() == 1:
        matrices = matrices[:, None]
    source = left if on_the_left else right
    if call.operation in ("aten::addmm", "aten::baddbmm"):
        weight = weight * float(call["alpha"]) ** 2
    rank = len(call.shape(source))
    if matrices.dim() == 2 and on_the_left and weight.dim() == rank:
        # y = x M: the rows of M^T are the output features, the last dimension.
        features = call.shape()[-1]
        rows = maximum_over(weight, range(rank - 1)).expand(*(1,) * (rank - 1), features)
        rows = rows.reshape(1, -1)
        energy = _row_weighted(
            call,
            rows,
            lambda: torch.tensor([matrix_norm_bound(matrices)], dtype=torch.float64),
            lambda scales: torch.tensor(
                [matrix_norm_bound(matrices * scales)], dtype=torch.float64
            ),
        )
        norm = float(call.cache[call.node, "norm"])
    else:
        stack = matrices.reshape(-1, *matrices.shape[-2:])
        norm = max(matrix_norm_bound(one) for one in stack)
        # A stack of matrices may broadcast the source, whose copies then add.
        same = rank > 1 and call.shape(source)[:-2] == call.shape()[:-2]
        copies = 1 if same else stack.shape[0]
        energy = weight.max() * norm**2 * copies
    call.record(norm, "singular values")
    return [(source, energy.reshape((1,) * rank))]


@rule(
    "upsample_bilinear2d",
    "upsample_bicubic2d",
    "_upsample_bilinear2d_aa",
    "_upsample_bicubic2d_aa",
)
def interpolation(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Interpolation: the product of the spectral norms of its two 1-D matrices."""
    source = call.source(call.node.target._schema.arguments[0].name)
    mode = "bicubic" if "bicubic" in call.operation else "bilinear"
    key = (call.node, "norm")
    if key not in call.cache:
        call.cache[key] = _separable_norm(call, source, mode)
    norm = call.cache[key]
    call.record(norm, f"{mode}, spectral norms of the 1-D matrices")
    return [(source, maximum_over(weight, [2, 3]) * norm**2)]


def _separable_norm(call: Call, source: Node, mode: str) -> float:
    """Bound the norm of an interpolation that is the product of one along each axis."""
    factors = call.arguments.get("scale_factors")
    if factors is None:
        factors = (call.arguments.get("scales_h"), call.arguments.get("scales_w"))
    antialias = call.operation.endswith("_aa")
    sizes = zip(call.shape(source)[2:], call.shape()[2:], factors, strict=True)
    rows, columns = (
        interpolation_matrix(before, after, mode, bool(call["align_corners"]), factor, antialias)
        for before, after, factor in sizes
    )
    # Is that what runs? PyTorch 2's antialiased kernel, for one, is another on images of width 1.
    value = source.meta["val"]
    image = torch.rand(1, 2, *call.shape(source)[2:], dtype=value.dtype, device=value.device)
    found = call.node.target(image, *call.node.args[1:], **call.node.kwargs).cpu().double()
    difference = (found - rows.T @ image.cpu().double() @ columns).norm()
    if not difference <= 1e-3 * found.norm():
        raise call.unbounded("it is not the product of an interpolation along each axis")
    return matrix_norm_bound(rows) * matrix_norm_bound(columns)
