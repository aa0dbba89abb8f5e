"""One image as the attacker sees it: who is right, by how much, and what each pixel stands for."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .attack_group import AttackGroup
from .margins import (
    class_distances,
    closing_costs,
    cone_distances,
    flatten_logits,
    half_space_distances,
    predict_with_costs,
)
from .metrics import Metric
from .selection import cheapest_cost, cheapest_items, reachable_items
from .validation import (
    check_classifier,
    check_integer_map,
    check_labels,
    check_logits,
    check_weights,
)


class ImageProblem:
    r"""Predictions, costs and image-pixel counts of one image, grouped by what an attack does.

    A logit pixel stands for a number of image pixels of each label: one pixel of its label
    (plain target), ``weights`` pixels of its label, or the counts given as the target (cells of
    mixed labels). Ignored image pixels are not counted, and a logit pixel that stands for none
    is in no group.

    Args:
        logits: ``(K, H, W)``, or ``(1, H, W)`` for a binary head.
        target: Labels ``(H, W)``, or label counts ``(classes, H, W)``.
        ignore_index: Label of the image pixels that never count.
        weights: ``(H, W)`` image pixels per logit pixel. Only with labels, not with counts.
        classifier: ``(K, C)`` last affine map, for costs in feature space.

    Attributes:
        num_classes: K, or 2 for a binary head.
        has_classifier: Whether costs are those of features, in which a class may be unreachable.
        valid: Number of image pixels that count.
        correct: Number of them that are predicted correctly.
        intersection: ``(classes,)`` image pixels of a class that are predicted as it.
        gt_area: ``(classes,)`` image pixels of a class.
        pred_area: ``(classes,)`` valid image pixels predicted as a class.

    Raises:
        ValueError: On any input that cannot be certified, naming it.
    """

    def __init__(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        ignore_index: int = 255,
        weights: Tensor | None = None,
        classifier: Tensor | None = None,
    ) -> None:
        check_logits(logits)
        if classifier is not None:
            check_classifier(classifier, logits.shape[0])
        self.num_classes = max(2, logits.shape[0])
        self._shape = tuple(logits.shape[1:])
        self._logits = flatten_logits(logits)
        self._classifier = classifier
        self.has_classifier = classifier is not None
        self._labels: Tensor | None = None
        self._counts: Tensor | None = None
        self._total: Tensor | None = None
        self._unit: float = 1
        target = target.to(logits.device)
        if target.ndim == 3:
            self._read_counts(target, logits.shape, weights)
        else:
            self._read_labels(target, logits.shape[1:], ignore_index, weights)
        prediction = predict_with_costs(self._logits, classifier)
        self._label, self._flip, self._first, self._second = prediction
        self._measure_areas()

    def _read_labels(
        self, target: Tensor, shape: torch.Size, ignore_index: int, weights: Tensor | None
    ) -> None:
        check_integer_map(target, tuple(shape), "target")
        check_labels(target, self.num_classes, ignore_index)
        target = target.flatten()
        self._valid = target != ignore_index
        if weights is not None:
            check_weights(weights, tuple(shape))
            total = weights.to(target.device).flatten().double()
            self._valid &= total > 0
            used = total[self._valid]
            if used.numel() and used.min() == used.max():
                # Equal weights change no ratio: the certificate stays exact.
                self._unit = used[0].item()
            else:
                self._total = total
        # One more label than there are classes marks what does not count.
        dtype = torch.uint8 if self.num_classes < 255 else torch.int32
        self._labels = target.masked_fill(~self._valid, self.num_classes).to(dtype)

    def _read_counts(self, target: Tensor, shape: torch.Size, weights: Tensor | None) -> None:
        if weights is not None:
            raise ValueError("weights cannot be combined with label counts: scale the counts")
        check_integer_map(target, (self.num_classes, *shape[1:]), "target (label counts)")
        if (target < 0).any():
            raise ValueError(f"label counts must be >= 0, got {target.min().item()}")
        self._counts = target.flatten(1)
        self._total = self._counts.sum(0).double()
        self._valid = self._total > 0

    def _measure_areas(self) -> None:
        classes, size = self.num_classes, self.num_classes + 1
        label = self._label.long()
        if self._labels is not None:
            total = self._total
            index = self._labels.long() * size + label
            confusion = torch.bincount(index, weights=total, minlength=size * size).cpu().numpy()
            confusion = confusion.reshape(size, size)[:classes, :classes] * _number(self._unit)
            self.intersection = confusion.diagonal().copy()
            self.gt_area = confusion.sum(1)
            self.pred_area = confusion.sum(0)
        else:
            chosen = self._counts.gather(0, label[None])[0].double()
            hits = torch.bincount(label, weights=chosen, minlength=classes)
            predicted = torch.bincount(label, weights=self._total, minlength=classes)
            self.intersection = hits.long().cpu().numpy()
            self.gt_area = self._counts.sum(1).cpu().numpy()
            self.pred_area = predicted.long().cpu().numpy()
        self.valid = self.gt_area.sum().item()
        self.correct = self.intersection.sum().item()

    def _hits(self, class_index: int) -> tuple[Tensor, Tensor | None]:
        """Logit pixels with image pixels of a class, and how many (None: the unit)."""
        if self._labels is not None:
            return self._labels == class_index, self._total
        return self._counts[class_index] > 0, self._counts[class_index].double()

    def _others(self, class_index: int) -> tuple[Tensor, Tensor | None]:
        """Logit pixels with image pixels of other classes, and how many (None: the unit)."""
        if self._labels is not None:
            return self._valid & (self._labels != class_index), self._total
        others = self._total - self._counts[class_index]
        return others > 0, others

    def _group(
        self,
        lower: Tensor,
        mask: Tensor,
        profits: Tensor | None,
        measure: Callable[[Tensor], Tensor],
        limit: float,
    ) -> AttackGroup:
        unit = self._unit
        if profits is not None:
            used = profits[mask]
            if used.numel() == 0 or used.min() == used.max():
                unit, profits = used[0].item() if used.numel() else 1.0, None
        costs, gains = reachable_items(lower, mask, profits, measure, limit)
        if gains is None:
            return AttackGroup(costs, unit)
        return AttackGroup(costs, gains, cheapest_cost(lower, mask, measure))

    def _flip_group(self, mask: Tensor, profits: Tensor | None, limit: float) -> AttackGroup:
        return self._group(self._flip, mask, profits, lambda chosen: self._flip[chosen], limit)

    def all_pixels(self, limit: float = math.inf) -> AttackGroup:
        """Every valid pixel: what it costs to change the prediction (stability)."""
        return self._flip_group(self._valid, self._total, limit)

    def correct_pixels(self, limit: float = math.inf) -> AttackGroup:
        """Correct pixels: what it costs to make them wrong (pixel accuracy)."""
        if self._labels is not None:
            return self._flip_group(self._labels == self._label, self._total, limit)
        counts = self._counts.gather(0, self._label.long()[None])[0].double()
        return self._flip_group(counts > 0, counts, limit)

    def true_positives(self, class_index: int, limit: float = math.inf) -> AttackGroup:
        """True positives of a class: what it costs to break them.

        A cell of mixed labels gains its pixels of the class; its other pixels, which would leave
        the false positives, are not credited to the defender.
        """
        mask, profits = self._hits(class_index)
        return self._flip_group(mask & (self._label == class_index), profits, limit)

    def true_negatives(self, class_index: int, limit: float = math.inf) -> AttackGroup:
        """True negatives of a class: what it costs to turn them into false positives.

        A cell of mixed labels gains its pixels of other classes; its pixels of the class, which
        would become true positives, are not credited to the defender.
        """
        mask, profits = self._others(class_index)
        mask = mask & (self._label != class_index)
        lower, measure = self._entry(class_index)
        return self._group(lower, mask, profits, measure, limit)

    def cheapest_entries(
        self, class_index: int, count: int, where: Tensor | None = None
    ) -> np.ndarray:
        """Squared costs of the true negatives that are cheapest to turn into a class, ascending.

        Args:
            class_index: The class.
            count: How many, at least 1; fewer are returned when there are fewer.
            where: Boolean ``(H, W)``: the only logit pixels that are considered.
        """
        mask = self._others(class_index)[0] & (self._label != class_index)
        if where is not None:
            mask &= where.to(mask.device).flatten()
        lower, measure = self._entry(class_index)
        return cheapest_items(lower, mask, measure, count)

    def _entry(self, class_index: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Lower bounds of the entry costs of all pixels, and the exact costs of some."""
        logits = self._logits
        if logits.shape[0] == 1:
            return self._flip, lambda chosen: self._flip[chosen]
        gap = self._first - logits[class_index]
        if self._classifier is None:
            return gap.mul_(math.sqrt(0.5)), lambda chosen: self._cone_distances(
                chosen, class_index
            )
        distances = class_distances(self._classifier).to(logits.device)
        lower = closing_costs(gap.double(), distances[class_index][self._label.long()])
        return lower, lambda chosen: half_space_distances(
            logits.index_select(1, chosen), class_index, distances
        )

    def _cone_distances(self, chosen: Tensor, class_index: int) -> Tensor:
        """Exact entry costs of some pixels.

        Only those that more than one logit keeps out are projected: for the others it suffices to
        meet the largest logit half way.
        """
        own, first = self._logits[class_index][chosen].double(), self._first[chosen].double()
        cost = (first - own) / math.sqrt(2)
        crowded = (self._second[chosen] > (first + own) / 2).nonzero().squeeze(1)
        columns = self._logits.index_select(1, chosen[crowded])
        cost[crowded] = cone_distances(columns, class_index)
        return cost

    def pixel_maps(self) -> tuple[np.ndarray, np.ndarray]:
        """Predicted labels and flip costs (float64, distances) of all logit pixels, ``(H, W)``."""
        label, flip = self._label.cpu().numpy(), self._flip.cpu().numpy()
        return label.reshape(self._shape), flip.reshape(self._shape)

    def terms(self, metric: Metric, class_index: int | None) -> tuple[float, float]:
        """What is good without attack and the area it is divided by; see ``Metric.terms``."""
        chosen = slice(None) if class_index is None else class_index
        areas = (self.intersection[chosen], self.gt_area[chosen], self.pred_area[chosen])
        good, area = metric.terms(*areas, self.valid)
        return np.asarray(good).item(), np.asarray(area).item()

    def targets(self, metric: Metric, class_index: int | None, limit: float) -> AttackGroup:
        """The pixels that an attack on a share takes."""
        method = getattr(self, metric.targets)
        return method(limit) if class_index is None else method(class_index, limit)

    def typical_cost(self) -> float:
        """Mean of the finite flip costs of the valid pixels, or 1 when it is 0."""
        costs = self._flip[self._valid & self._flip.isfinite()]
        mean = costs.mean().item() if costs.numel() else 0.0
        return mean or 1.0


def _number(value: float) -> float:
    """Whole numbers as int, so that counts of pixels stay integers."""
    return int(value) if float(value).is_integer() else value


def as_numbers(values: np.ndarray | list) -> list:
    """Plain Python numbers, whole ones as int, for JSON."""
    return [_number(v) for v in np.asarray(values).tolist()]
