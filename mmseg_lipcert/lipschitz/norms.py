"""Certified norms of matrices, interpolation, preprocessing and sliding windows, in float64.

None is below the true norm: a relative margin covers the rounding of the float64 arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Relative inflation of every returned norm: far above the rounding errors of float64 eigenvalues
# (about 1e-13 for 512 channels) and far below anything that matters in a certificate.
ROUNDING = 1 + 1e-10


def matrix_norm_bound(matrix: Tensor) -> float:
    """Bound the spectral norm of a matrix (m, n) from above, in float64.

    Raises:
        ValueError: If the matrix is not 2-D or not finite.
    """
    if matrix.dim() != 2 or not torch.isfinite(matrix).all():
        raise ValueError(f"expected a finite 2-D matrix, got shape {tuple(matrix.shape)}")
    matrix = matrix.detach().to("cpu", torch.float64)
    scale = float(matrix.abs().max()) if matrix.numel() else 0.0
    if scale == 0:
        return 0.0
    matrix = matrix / scale
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    return float(torch.linalg.eigvalsh(gram)[-1].sqrt()) * scale * ROUNDING


def interpolation_norm(
    in_size: Sequence[int], out_size: Sequence[int], mode: str, align_corners: bool | None = None
) -> float:
    """Bound the l2 norm of `F.interpolate` from a (H, W) map to another size.

    Interpolation is separable: its norm is the product of the spectral norms of its two 1-D
    matrices, which are read off by interpolating basis vectors.

    Args:
        in_size: Height and width before.
        out_size: Height and width after.
        mode: 'nearest', 'nearest-exact', 'bilinear', 'bicubic' or 'area'.
        align_corners: As in `F.interpolate`. Defaults to None.

    Returns:
        Upper bound of the norm; about the scale factor for up-sampling by bilinear weights.
    """
    norm = 1.0
    for before, after in zip(in_size, out_size, strict=True):
        matrix = interpolation_matrix(int(before), int(after), mode, align_corners)
        norm *= matrix_norm_bound(matrix)
    return norm


def interpolation_matrix(
    before: int,
    after: int,
    mode: str,
    align_corners: bool | None = None,
    scale: float | None = None,
    antialias: bool = False,
) -> Tensor:
    """Read off the 1-D matrix (before, after) of an interpolation by applying it to unit vectors.

    They are rows: on columns of width 1, PyTorch 2's antialiased kernel is wrong.

    Args:
        before: Length before.
        after: Length after.
        mode: As in `interpolation_norm`.
        align_corners: As in `F.interpolate`. Defaults to None.
        scale: Scale factor that PyTorch was given; the positions of the samples follow it, and
            not the ratio of the lengths. Defaults to None.
        antialias: As in `F.interpolate`. Defaults to False.
    """
    basis = torch.eye(before, dtype=torch.float64).view(before, 1, 1, before)
    target = {"size": (1, after)} if scale is None else {"scale_factor": (1.0, scale)}
    matrix = F.interpolate(
        basis, mode=mode, align_corners=align_corners, antialias=antialias, **target
    )
    if matrix.shape[3] != after:
        raise ValueError(f"a scale of {scale} turns {before} into {matrix.shape[3]}, not {after}")
    return matrix.view(before, after)


def preprocessing_norm(mean: Sequence[float], std: Sequence[float]) -> float:
    """Norm of MMSegmentation's normalisation seen from images in [0, 1].

    The preprocessor computes `(255 x - mean) / std` channel by channel, so that its norm is
    `255 / min(std)`, whatever the means are.

    Args:
        mean: Means of the channels, in 0..255 units.
        std: Standard deviations of the channels, in 0..255 units.

    Returns:
        The factor from [0, 1] pixels to normalised pixels (4.46 for ImageNet's statistics).

    Raises:
        ValueError: If a standard deviation is not positive, or the lengths differ.
    """
    if len(mean) != len(std) or len(std) == 0:
        raise ValueError(f"need one mean and one std per channel, got {tuple(mean)}, {tuple(std)}")
    if min(std) <= 0:
        raise ValueError(f"standard deviations must be positive, got {tuple(std)}")
    return 255.0 / float(min(std)) * ROUNDING


def sliding_window_norm(size: Sequence[int], crop: Sequence[int], stride: Sequence[int]) -> float:
    """Joint factor of averaging the logits of sliding windows, `sqrt(Dmax / Dmin)`.

    With D the number of windows that cover a pixel, and every window L-Lipschitz, the averaged
    map satisfies `sum_w ||df_w||^2 <= L^2 Dmax / Dmin ||dx||^2`. The windows are placed as
    MMSegmentation's `slide_inference` places them: the last one is moved inside the image.

    Args:
        size: Height and width of the image.
        crop: Height and width of the window.
        stride: Vertical and horizontal step.

    Returns:
        The factor by which the bound of one window is multiplied.
    """
    counts = torch.ones(1, 1, dtype=torch.float64)
    for axis in range(2):
        length, window, step = int(size[axis]), int(crop[axis]), int(stride[axis])
        if window < 1 or step < 1 or length < 1:
            raise ValueError(f"sizes must be positive, got {size}, {crop}, {stride}")
        cover = torch.zeros(length, dtype=torch.float64)
        for index in range(max(length - window + step - 1, 0) // step + 1):
            end = min(index * step + window, length)
            cover[max(end - window, 0) : end] += 1
        counts = counts * (cover[:, None] if axis == 0 else cover[None, :])
    if float(counts.min()) == 0:
        raise ValueError(
            f"windows of {tuple(crop)} with stride {tuple(stride)} leave pixels uncovered: "
            "the stride must not exceed the window"
        )
    return math.sqrt(float(counts.max() / counts.min())) * ROUNDING
