"""Certified upper bounds of the l2 operator norms of convolutions and paddings, in float64.

Every function returns a number that is never below the true norm: the approximations made are
upper bounds, and a relative margin of 1e-10 covers the rounding of the float64 arithmetic.

The norm of a convolution is bounded by that of the same convolution on the infinite lattice Z^2,
which is the supremum over the frequencies of the spectral norm of its symbol. Zero padding
(any amount, asymmetric too) and cropping are compressions of that operator. Three upper bounds of
the supremum are computed from the kernel and the smallest is kept, see `conv_group_bounds`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .norms import ROUNDING

# Squared-norm bounds this close to a proven lower bound are not refined any further.
_TIGHT_ENOUGH = 1 + 2e-4

# Above this number of rows an eigenvalue decomposition per frequency is too slow.
_MAX_EIGH_ROWS = 64

# Complex entries of the symbol that are held at once.
_CHUNK_ENTRIES = 1 << 23


def conv_norm_bound(
    conv: nn.Conv2d | nn.ConvTranspose2d, input_size: tuple[int, int] | None = None
) -> float:
    """Bound the l2 norm of the linear part of a convolution layer from above.

    Args:
        conv: Layer with any kernel, stride, dilation, groups and padding.
        input_size: Height and width of the input. It makes the bound tighter for padding modes
            other than zeros; without it the bound holds for every input size.
            Defaults to None.

    Returns:
        Upper bound of `||conv(x) - conv(x')|| / ||x - x'||`, in float64.

    Raises:
        ValueError: If the weight is not finite.
    """
    if isinstance(conv, nn.ConvTranspose2d) or conv.padding_mode == "zeros":
        bounds = conv_group_bounds(conv.weight, conv.stride, conv.dilation, conv.groups)
        return float(bounds.max())
    # PyTorch pads (left, right, top, bottom) and then convolves without padding.
    left, right, top, bottom = conv._reversed_padding_repeated_twice
    pads = ((top, bottom), (left, right))
    sizes = (None, None) if input_size is None else input_size
    if conv.padding_mode == "circular":
        return float(
            circular_conv_group_bounds(
                conv.weight, sizes, pads, conv.stride, conv.dilation, conv.groups
            ).max()
        )
    factor = 1
    for size, (low, high) in zip(sizes, pads, strict=True):
        factor *= padding_multiplicity(size, low, high, conv.padding_mode)
    bounds = conv_group_bounds(conv.weight, conv.stride, conv.dilation, conv.groups)
    return float(bounds.max()) * math.sqrt(factor)


def circular_conv_group_bounds(
    weight: Tensor,
    sizes: Sequence[int | None],
    pads: Sequence[tuple[int, int]],
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Bound the norms of the groups of a convolution behind a circular padding, jointly.

    On a torus whose side is a multiple of the stride, the convolution's norm is a maximum over
    sampled frequencies and the bound of the infinite lattice holds. On any other side only the
    rows of the stride-1 convolution can be compared with it. Padding by more than the kernel's
    reach repeats output rows: the squared norm grows by how often.

    Args:
        weight: Kernel, as in `conv_group_bounds`.
        sizes: Height and width before the padding, None for any.
        pads: (before, after) per axis.
        stride: Stride per axis.
        dilation: Dilation per axis.
        groups: Number of groups.

    Returns:
        Upper bounds, float64, shape (groups,).
    """
    factor = 1
    steps = []
    for axis, (size, (low, high)) in enumerate(zip(sizes, pads, strict=True)):
        reach = dilation[axis] * (weight.shape[2 + axis] - 1)
        factor *= circular_multiplicity(size, low, high, reach, stride[axis])
        steps.append(stride[axis] if size is not None and size % stride[axis] == 0 else 1)
    return conv_group_bounds(weight, steps, dilation, groups) * math.sqrt(factor)


def conv_group_bounds(
    weight: Tensor,
    stride: Sequence[int] = (1, 1),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """Bound the norm of every group of a 2-D convolution on the infinite lattice.

    A strided convolution is the stride-1 convolution of its polyphase kernel with
    `Cin * s * s` channels (exact); dilation without stride does not change the norm; a transposed
    convolution is the adjoint of the convolution with the same weight array, hence has the same
    norm. With `R_s` the blocks of the kernel's autocorrelation on the smaller side, so that
    `G G*(w) = sum_s R_s exp(i s w)` for the symbol G, the smallest of these is returned:

    1. `||G||^2 <= ||R_0|| + sum_{s != 0} ||R_s||`: tight for nearly orthogonal kernels.
    2. `||G||^2 <= || sum_s |R_s| ||` (absolute values by entry; the best almost-orthogonal
       rescaling bound of Prach & Lampert, "Almost-Orthogonal Layers", ECCV 2022).
    3. The maximum over an N-grid of frequencies, divided by the gap term of the trigonometric
       polynomial `v* G G* v` of degree n per axis, `cos^2(n pi / 2N)`: a nonnegative
       trigonometric polynomial stays above `S cos^2(n d / 2)` at distance d from a maximum S
       (Bernstein-Szegoe inequality). Not used where 1. or 2. is already within 0.01% of the
       lower bound `||R_0||`, or where the gap term alone would exceed them.

    Args:
        weight: Kernel of shape (Cout, Cin / groups, kh, kw) of a convolution, or
            (Cin, Cout / groups, kh, kw) of a transposed one.
        stride: Stride per axis.
        dilation: Dilation per axis.
        groups: Number of groups.

    Returns:
        Upper bounds of the norms, float64, shape (groups,). The norm of the whole layer is
        bounded by their maximum.

    Raises:
        ValueError: If the weight is not 4-D, not finite, or not divisible into the groups.
    """
    if weight.dim() != 4 or weight.shape[0] % groups:
        raise ValueError(
            f"the weight must be 4-D with a first dimension divisible by groups={groups}, "
            f"got shape {tuple(weight.shape)}"
        )
    kernel = weight.detach().to("cpu", torch.float64)
    if not torch.isfinite(kernel).all():
        raise ValueError("the convolution's weight must be finite, got NaN or infinity")
    kernel = _polyphase(kernel.unflatten(0, (groups, -1)), stride, dilation)
    if kernel.shape[1] > kernel.shape[2]:
        kernel = kernel.transpose(1, 2)
    # Normalised so that the relative margins of the eigenvalue solvers are meaningful.
    scale = kernel.abs().amax(dim=(1, 2, 3, 4), keepdim=True)
    kernel = kernel / torch.where(scale > 0, scale, 1.0)
    squared = _squared_norm_bounds(kernel)
    return squared.clamp_min(0).sqrt() * scale.flatten() * ROUNDING


def _polyphase(kernel: Tensor, stride: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """Reduce (g, m, n, kh, kw) with stride and dilation to a stride-1 kernel of equal norm."""
    for axis, (step, hole) in enumerate(zip(stride, dilation, strict=True)):
        dim = 3 + axis
        if step == 1:
            continue
        size = kernel.shape[dim]
        reach = hole * (size - 1) + 1
        blocks = -(-reach // step)
        shape = list(kernel.shape)
        shape[dim] = blocks * step
        spread = kernel.new_zeros(shape)
        index = torch.arange(size) * hole
        spread.index_copy_(dim, index, kernel)
        # (..., blocks, step, ...) -> the phase joins the input channels.
        spread = spread.unflatten(dim, (blocks, step)).movedim(dim + 1, 3)
        kernel = spread.flatten(2, 3)
    return kernel


def _squared_norm_bounds(kernel: Tensor) -> Tensor:
    """Bound `sup ||G||^2` for each kernel of a batch (g, rows, cols, kh, kw), rows <= cols."""
    center, others = _autocorrelation(kernel)
    lower = torch.linalg.eigvalsh(center)[:, -1]
    if others.shape[1] == 0:
        return lower
    bound = lower + 2 * torch.linalg.matrix_norm(others).sum(1)
    for steps in (1, 3):
        if (bound <= _TIGHT_ENOUGH * lower).all():
            return bound
        bound = torch.minimum(bound, lower + 2 * _gram_norms(others, steps).sum(1))
    entrywise = center.abs() + (others.abs() + others.abs().transpose(-1, -2)).sum(1)
    bound = torch.minimum(bound, torch.linalg.eigvalsh(entrywise)[:, -1])
    for group in torch.nonzero(bound > _TIGHT_ENOUGH * lower).flatten().tolist():
        bound[group] = _grid_bound(kernel[group], float(lower[group]), float(bound[group]))
    return bound


def _autocorrelation(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Return R_0 (g, rows, rows) and one of each pair R_s, R_-s = R_s^T (g, pairs, rows, rows)."""
    *_, height, width = kernel.shape
    lags = [(0, dx) for dx in range(1, width)]
    lags += [(dy, dx) for dy in range(1, height) for dx in range(1 - width, width)]
    center = torch.einsum("grcyx,gscyx->grs", kernel, kernel)
    blocks = []
    for dy, dx in lags:
        late = kernel[..., dy:, max(dx, 0) : width + min(dx, 0)]
        early = kernel[..., : height - dy, max(-dx, 0) : width + min(-dx, 0)]
        blocks.append(late.flatten(2) @ early.flatten(2).transpose(1, 2))
    if not blocks:
        return center, center.new_zeros(center.shape[0], 0, *center.shape[1:])
    return center, torch.stack(blocks, 1)


def _gram_norms(matrices: Tensor, steps: int) -> Tensor:
    """Bound the spectral norms of a batch of square matrices by Gram iteration.

    `||R||_2 <= ||(R^T R)^(2^(k-1))||_F^(1/2^k)` after k steps (Delattre et al., "Efficient Bound of
    Lipschitz Constant for Convolutional Layers by Gram Iteration", ICML 2023).
    """
    norms = torch.linalg.matrix_norm(matrices)
    power = matrices / torch.where(norms > 0, norms, 1.0)[..., None, None]
    log_norm = torch.zeros_like(norms)
    for step in range(1, steps + 1):
        power = power.transpose(-1, -2) @ power
        size = torch.linalg.matrix_norm(power).clamp_min(1e-300)
        power = power / size[..., None, None]
        log_norm = log_norm + size.log() / 2**step
    return norms * log_norm.exp() * ROUNDING


def _grid_bound(kernel: Tensor, lower: float, upper: float) -> float:
    """Improve bounds of `sup ||G||^2` of a kernel (rows, cols, kh, kw) by a grid of frequencies.

    Returns `upper` where a grid of affordable size cannot be below it.
    """
    rows, cols, height, width = kernel.shape
    density = 32 if rows <= 16 else 16 if rows <= 128 else 10
    sizes = [density * (extent - 1) if extent > 1 else 1 for extent in (height, width)]
    gap = 1.0
    for extent, size in zip((height, width), sizes, strict=True):
        if extent > 1:
            gap *= math.cos((extent - 1) * math.pi / (2 * size)) ** 2
    if lower / gap >= upper:
        return upper
    # Real kernels have G(-w) = conj G(w): half of the frequencies suffice.
    angles_y = 2 * math.pi * torch.arange(sizes[0], dtype=torch.float64) / sizes[0]
    angles_x = 2 * math.pi * torch.arange(sizes[1] // 2 + 1, dtype=torch.float64) / sizes[1]
    phase_y = torch.outer(angles_y, torch.arange(height, dtype=torch.float64))
    phase_x = torch.outer(angles_x, torch.arange(width, dtype=torch.float64))
    phases = (phase_y[:, None, :, None] + phase_x[None, :, None, :]).reshape(-1, height * width)
    waves = torch.polar(torch.ones_like(phases), phases)
    taps = kernel.permute(2, 3, 0, 1).reshape(height * width, rows * cols).to(torch.complex128)
    largest = lower
    for chunk in waves.split(max(1, _CHUNK_ENTRIES // (rows * cols))):
        symbol = (chunk @ taps).reshape(-1, rows, cols)
        gram = symbol @ symbol.mH
        if rows <= _MAX_EIGH_ROWS:
            largest = max(largest, float(torch.linalg.eigvalsh(gram)[:, -1].max()))
        else:
            largest = _certified_largest_eigenvalue(gram, largest)
        if largest / gap >= upper:
            return upper
    return largest / gap


def _certified_largest_eigenvalue(matrices: Tensor, start: float) -> float:
    """Return t >= start above all eigenvalues of positive semi-definite matrices (F, r, r).

    Power iteration proposes t; that `t I - A` has a Cholesky factor proves it, and t grows until
    it does.
    """
    generator = torch.Generator().manual_seed(0)
    size = matrices.shape[-1]
    vector = torch.randn(size, 1, dtype=torch.float64, generator=generator).to(matrices.dtype)
    vector = vector.expand(matrices.shape[0], size, 1)
    for _ in range(30):
        vector = matrices @ vector
        vector = vector / torch.linalg.vector_norm(vector, dim=1, keepdim=True).clamp_min(1e-300)
    estimate = torch.linalg.vector_norm(matrices @ vector, dim=1).max()
    bound = max(start, float(estimate) * (1 + 1e-3))
    identity = torch.eye(size, dtype=matrices.dtype)
    while True:
        failed = torch.linalg.cholesky_ex(bound * identity - matrices).info != 0
        if not failed.any():
            return bound
        matrices = matrices[failed]
        bound *= 1 + 5e-3


def circular_multiplicity(size: int | None, low: int, high: int, reach: int, stride: int) -> int:
    """Bound how often an output row of a circularly padded convolution repeats.

    Args:
        size: Length of the axis, None for any length that PyTorch can pad.
        low: Elements padded before the axis.
        high: Elements padded after the axis.
        reach: Dilated kernel size minus one.
        stride: Stride of the convolution.

    Returns:
        Largest number of outputs that start at the same position modulo `size`.
    """
    if size is None:
        # PyTorch pads at most one period, hence the size is at least the padding.
        size = max(low, high, 1)
        outputs = size + max(low + high - reach, 0)
        return -(-outputs // size)
    outputs = (size + low + high - reach - 1) // stride + 1
    period = size // math.gcd(size, stride)
    return -(-outputs // period)


def padding_multiplicity(size: int | None, low: int, high: int, mode: str) -> int:
    """Count how often the most repeated element of an axis occurs after padding.

    The squared norm of a padding is the product of these counts over the axes.

    Args:
        size: Length of the axis, None for any length that PyTorch can pad.
        low: Elements padded before the axis.
        high: Elements padded after the axis.
        mode: 'constant', 'reflect', 'replicate' or 'circular'.

    Raises:
        ValueError: If the mode is unknown.
    """
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise ValueError(f"unknown padding mode {mode!r}")
    if mode == "constant":
        return 1
    if size is None:
        size = 1 if mode == "replicate" else max(low, high) + (mode == "reflect")
    axis = torch.arange(size, dtype=torch.float64).view(1, 1, size, 1)
    padded = F.pad(axis, (0, 0, low, high), mode=mode)
    return int(torch.bincount(padded.flatten().long()).max())
