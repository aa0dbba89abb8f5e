"""What a logit pixel stands for: image pixels of one label, or counts of several labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .validation import check_integer_map, check_labels, check_weights


class Items(NamedTuple):
    """Logit pixels that an attack can take something from.

    Attributes:
        mask: Bool ``(N,)``.
        profits: Image pixels that each gives ``(N,)``; None where all give ``unit``.
    """

    mask: Tensor
    profits: Tensor | None


class LabelTarget:
    """A label per logit pixel, and how many image pixels have it.

    Args:
        target: Labels ``(H, W)``.
        num_classes: Number of classes.
        ignore_index: Label of the pixels that never count.
        weights: ``(H, W)`` image pixels per logit pixel; None: one.

    Attributes:
        valid: Items of all labels.
        unit: Image pixels per logit pixel where all have the same number.

    Raises:
        ValueError: On labels that are no class, or bad weights.
    """

    def __init__(
        self, target: Tensor, num_classes: int, ignore_index: int, weights: Tensor | None
    ) -> None:
        check_labels(target, num_classes, ignore_index)
        shape, target = tuple(target.shape), target.flatten()
        valid, total = target != ignore_index, None
        self.unit: float = 1
        if weights is not None:
            check_weights(weights, shape)
            total = weights.to(target.device).flatten().double()
            valid &= total > 0
            used = total[valid]
            if used.numel() and used.min() == used.max():
                # Equal weights change no ratio: the certificate stays exact.
                self.unit, total = used[0].item(), None
        self.valid = Items(valid, total)
        self._num_classes = num_classes
        # One more label than there are classes marks what does not count.
        dtype = torch.uint8 if num_classes < 255 else torch.int32
        self._labels = target.to(dtype, copy=True).masked_fill_(~valid, num_classes)

    def areas(self, predicted: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image pixels per class: predicted rightly, labeled as it, predicted as it."""
        size = self._num_classes + 1
        dtype = torch.int16 if size * size < 2**15 else torch.int32
        index = self._labels.to(dtype) * size + predicted
        counts = torch.bincount(index, weights=self.valid.profits, minlength=size * size)
        confusion = counts.cpu().numpy().reshape(size, size)[:-1, :-1] * plain_number(self.unit)
        return confusion.diagonal().copy(), confusion.sum(1), confusion.sum(0)

    def agreeing(self, predicted: Tensor) -> Items:
        """Items of the predicted labels."""
        return Items(self._labels == predicted, self.valid.profits)

    def labeled(self, class_index: int) -> Items:
        """Items of a class."""
        return Items(self._labels == class_index, self.valid.profits)

    def others(self, class_index: int) -> Items:
        """Items of all other classes."""
        return Items(self.valid.mask & (self._labels != class_index), self.valid.profits)


class CountTarget:
    """How many image pixels of each label every logit pixel stands for.

    Args:
        target: Counts ``(classes, H, W)``.

    Attributes:
        valid: Items of all labels.
        unit: 1.

    Raises:
        ValueError: If a count is negative.
    """

    unit = 1

    def __init__(self, target: Tensor) -> None:
        if (target < 0).any():
            raise ValueError(f"label counts must be >= 0, got {target.min().item()}")
        self._counts = target.flatten(1)
        self._total = self._counts.sum(0).double()
        self.valid = Items(self._total > 0, self._total)

    def areas(self, predicted: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image pixels per class: predicted rightly, labeled as it, predicted as it."""
        hits, pred_area = (
            torch.bincount(predicted.long(), weights=weights, minlength=len(self._counts)).long()
            for weights in (self.agreeing(predicted).profits, self.valid.profits)
        )
        return hits.cpu().numpy(), self._counts.sum(1).cpu().numpy(), pred_area.cpu().numpy()

    def agreeing(self, predicted: Tensor) -> Items:
        """Items of the predicted labels."""
        return _counted(self._counts.gather(0, predicted.long()[None])[0].double())

    def labeled(self, class_index: int) -> Items:
        """Items of a class."""
        return _counted(self._counts[class_index].double())

    def others(self, class_index: int) -> Items:
        """Items of all other classes."""
        return _counted(self._total - self._counts[class_index])


def read_target(
    target: Tensor,
    shape: tuple[int, int],
    num_classes: int,
    ignore_index: int,
    weights: Tensor | None,
) -> LabelTarget | CountTarget:
    """What the target of an image says about logits of a shape ``(H, W)``.

    Raises:
        ValueError: On a target that does not fit, or weights beside counts.
    """
    if target.ndim != 3:
        check_integer_map(target, shape, "target")
        return LabelTarget(target, num_classes, ignore_index, weights)
    if weights is not None:
        raise ValueError("weights cannot be combined with label counts: scale the counts")
    check_integer_map(target, (num_classes, *shape), "target (label counts)")
    return CountTarget(target)


def plain_number(value: float) -> float:
    """Whole numbers as int, so that counts of pixels stay integers."""
    return int(value) if float(value).is_integer() else value


def _counted(profits: Tensor) -> Items:
    return Items(profits > 0, profits)
