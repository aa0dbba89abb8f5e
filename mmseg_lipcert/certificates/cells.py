"""Which logit pixel stands for an image pixel, and what labels it stands for.

A head may give its logits at a stride, and the evaluation may happen at the original size of an
image that was resized. Predictions are then repeated (nearest neighbor): every image pixel belongs
to exactly one logit pixel, its cell, and a certificate weighs the logit pixel by the cell's labels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .validation import check_labels


def cell_indices(original: int, resized: int, stride: int) -> Tensor:
    """Index of the logit row (or column) that stands for each image row (or column).

    Args:
        original: Rows of the original image.
        resized: Rows of the image that entered the network.
        stride: Rows of the network's image per row of logits.

    Returns:
        int64 tensor of shape (original,).
    """
    centers = (2 * torch.arange(original) + 1) * resized
    return centers.div(2 * original, rounding_mode="floor").div(stride, rounding_mode="floor")


def repeat_labels(labels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Repeat labels (h, w) of logit pixels to the image, shape (len(rows), len(columns))."""
    return labels[rows.to(labels.device)][:, columns.to(labels.device)]


def cell_label_counts(
    target: Tensor,
    rows: Tensor,
    columns: Tensor,
    size: tuple[int, int],
    num_classes: int,
    ignore_index: int = 255,
) -> Tensor:
    """Count the labels of each cell.

    Args:
        target: Labels (H, W).
        rows: Logit row of each image row, shape (H,).
        columns: Logit column of each image column, shape (W,).
        size: Height and width (h, w) of the logits.
        num_classes: Number K of classes.
        ignore_index: Label of the pixels that never count. Defaults to 255.

    Returns:
        int64 tensor of shape (K, h, w).

    Raises:
        ValueError: If a label is neither a class nor ``ignore_index``, naming it, or a pixel has
            no cell.
    """
    check_labels(target, num_classes, ignore_index)
    last = (int(rows.max()), int(columns.max()))
    if last[0] >= size[0] or last[1] >= size[1]:
        raise ValueError(f"the last pixel belongs to logit {last}, but there are only {size}")
    cell = rows.to(target.device)[:, None] * size[1] + columns.to(target.device)
    valid = target != ignore_index
    flat = target[valid].long() * (size[0] * size[1]) + cell[valid]
    counts = torch.bincount(flat, minlength=num_classes * size[0] * size[1])
    return counts.view(num_classes, *size)


def native_cells(
    logits: Tensor, shape: tuple[int, int], network_size: tuple[int, int], stride: int
) -> tuple[Tensor, Tensor] | None:
    """Logit row of each image row, and logit column of each image column.

    Args:
        logits: Native logits (K, h, w).
        shape: Original size of the image.
        network_size: Height and width of the image that entered the network.
        stride: Rows of that image per row of logits.

    Returns:
        Indices (H,) and (W,); None where each pixel has a logit of its own.
    """
    rows, columns = (
        cell_indices(original, resized, stride)
        for original, resized in zip(shape, network_size, strict=True)
    )
    # Equal sizes are not enough: an image may be resized and its logits be padded back.
    if all(
        torch.equal(index, torch.arange(count))
        for index, count in zip((rows, columns), logits.shape[1:], strict=True)
    ):
        return None
    return rows, columns


def native_target(
    logits: Tensor,
    target: Tensor,
    cells: tuple[Tensor, Tensor] | None,
    ignore_index: int = 255,
) -> Tensor:
    """Labels as certificates of native logits take them.

    Args:
        logits: Native logits (K, h, w).
        target: Labels (H, W) at the original size of the image.
        cells: Of ``native_cells``.
        ignore_index: Label of the pixels that never count. Defaults to 255.

    Returns:
        The labels themselves where each has a logit of its own, else the counts of the labels that
        each logit stands for, (classes, h, w).
    """
    target = target.to(logits.device)
    if cells is None:
        return target
    size = (logits.shape[1], logits.shape[2])
    return cell_label_counts(target, *cells, size, max(2, logits.shape[0]), ignore_index)
