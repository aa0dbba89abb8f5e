"""One image as the attacker sees it: who is right, by how much, and what each pixel stands for."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .attack_group import AttackGroup
from .margins import (
    class_distances,
    closing_costs,
    cone_distances,
    flatten_logits,
    half_gaps,
    half_space_distances,
    predict_with_costs,
)
from .metrics import Metric
from .reachable import cheapest_cost, cheapest_items, reachable_items
from .targets import Items, plain_number, read_target
from .validation import check_classifier, check_logits


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
        self._shape = (logits.shape[1], logits.shape[2])
        self._logits = flatten_logits(logits)
        self._classifier = classifier
        self._target = read_target(
            target.to(logits.device), self._shape, self.num_classes, ignore_index, weights
        )
        self._prediction = predict_with_costs(self._logits, classifier)
        self._label = self._prediction.label
        self.intersection, self.gt_area, self.pred_area = self._target.areas(self._label)
        self.valid = self.gt_area.sum().item()
        self.correct = self.intersection.sum().item()

    @property
    def has_classifier(self) -> bool:
        """Whether costs are those of features, in which a class may be unreachable."""
        return self._classifier is not None

    @property
    def unit(self) -> float | None:
        """Image pixels that every valid logit pixel stands for; None where the numbers differ."""
        return self._unit(*self._target.valid)

    def _unit(self, mask: Tensor, profits: Tensor | None) -> float | None:
        if profits is None:
            return self._target.unit
        used = profits[mask]
        if used.numel() == 0:
            return 1.0
        return used[0].item() if used.min() == used.max() else None

    def _group(
        self,
        lower: Tensor,
        mask: Tensor,
        profits: Tensor | None,
        measure: Callable[[Tensor], Tensor],
        limit: float,
    ) -> AttackGroup:
        unit = self._unit(mask, profits)
        if unit is not None:
            return AttackGroup(reachable_items(lower, mask, None, measure, limit)[0], unit)
        costs, gains = reachable_items(lower, mask, profits, measure, limit)
        assert gains is not None  # there are profits
        return AttackGroup(costs, gains, cheapest_cost(lower, mask, measure))

    def _flip_group(self, items: Items, limit: float) -> AttackGroup:
        return self._group(self._prediction.lower, *items, self._prediction.flip, limit)

    def all_pixels(self, limit: float = math.inf) -> AttackGroup:
        """Every valid pixel: what it costs to change the prediction (stability)."""
        return self._flip_group(self._target.valid, limit)

    def correct_pixels(self, limit: float = math.inf) -> AttackGroup:
        """Correct pixels: what it costs to make them wrong (pixel accuracy)."""
        return self._flip_group(self._target.agreeing(self._label), limit)

    def true_positives(self, class_index: int, limit: float = math.inf) -> AttackGroup:
        """True positives of a class: what it costs to break them.

        A cell of mixed labels gains its pixels of the class; its other pixels, which would leave
        the false positives, are not credited to the defender.
        """
        mask, profits = self._target.labeled(class_index)
        return self._flip_group(Items(mask & (self._label == class_index), profits), limit)

    def true_negatives(self, class_index: int, limit: float = math.inf) -> AttackGroup:
        """True negatives of a class: what it costs to turn them into false positives.

        A cell of mixed labels gains its pixels of other classes; its pixels of the class, which
        would become true positives, are not credited to the defender.
        """
        mask, profits = self._target.others(class_index)
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
        mask = self._target.others(class_index).mask & (self._label != class_index)
        if where is not None:
            mask &= where.to(mask.device).flatten()
        lower, measure = self._entry(class_index)
        return cheapest_items(lower, mask, measure, count)

    def _entry(self, class_index: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Lower bounds of the entry costs of all pixels, and the exact costs of some."""
        logits = self._logits
        if logits.shape[0] == 1:
            return self._prediction.lower, self._prediction.flip
        first, own = self._prediction.first, logits[class_index]
        if self._classifier is None:
            return half_gaps(first, own), lambda chosen: self._cone_distances(chosen, class_index)
        distances = class_distances(self._classifier).to(logits.device)
        gap = first.double() - own.double()
        lower = closing_costs(gap, distances[class_index][self._label.long()])
        return lower, lambda chosen: half_space_distances(
            logits.index_select(1, chosen), class_index, distances
        )

    def cheapest_flips(self, count: int) -> np.ndarray:
        """Squared costs of the valid pixels that are cheapest to change, ascending.

        Args:
            count: How many, at least 1; fewer are returned when there are fewer.
        """
        found = self._prediction
        return cheapest_items(found.lower, self._target.valid.mask, found.flip, count)

    def _cone_distances(self, chosen: Tensor, class_index: int) -> Tensor:
        """Exact entry costs of some pixels.

        Only those that more than one logit keeps out are projected: for the others it suffices to
        meet the largest logit half way.
        """
        found = self._prediction
        own = self._logits[class_index].index_select(0, chosen).double()
        first = found.first.index_select(0, chosen).double()
        cost = (first - own) / math.sqrt(2)
        second = found.second.index_select(0, chosen)
        crowded = (second > (first + own) / 2).nonzero().squeeze(1)
        columns = self._logits.index_select(1, chosen[crowded])
        cost[crowded] = cone_distances(columns, class_index)
        return cost

    def entry_map(self, class_index: int) -> np.ndarray:
        """Entry costs ``(H, W)`` (float64, distances) of all logit pixels into a class."""
        _, measure = self._entry(class_index)
        costs = measure(torch.arange(self._label.numel(), device=self._label.device))
        return costs.masked_fill(self._label == class_index, 0.0).cpu().numpy().reshape(self._shape)

    def pixel_maps(self) -> tuple[np.ndarray, np.ndarray]:
        """Predicted labels and flip costs (float64, distances) of all logit pixels, ``(H, W)``."""
        label, flip = self._label.cpu().numpy(), self._prediction.flip().cpu().numpy()
        return label.reshape(self._shape), flip.reshape(self._shape)

    def terms(self, metric: Metric, class_index: int | None) -> tuple[float, float]:
        """What is good without attack and the area it is divided by; see ``Metric.terms``."""
        chosen = slice(None) if class_index is None else class_index
        areas = (self.intersection[chosen], self.gt_area[chosen], self.pred_area[chosen])
        good, area = metric.terms(*areas, self.valid)
        return np.asarray(good).item(), np.asarray(area).item()

    def targets(self, metric: Metric, class_index: int | None, limit: float) -> AttackGroup:
        """The pixels that an attack on a share takes."""
        method: Callable[..., AttackGroup] = getattr(self, metric.targets)
        return method(limit) if class_index is None else method(class_index, limit)

    def typical_cost(self) -> float:
        """Mean of the finite flip costs of the valid pixels, or 1 when it is 0."""
        flip = self._prediction.flip()
        costs = flip[self._target.valid.mask & flip.isfinite()]
        mean = costs.mean().item() if costs.numel() else 0.0
        return mean or 1.0


def as_numbers(values: np.ndarray | list[Any]) -> list[Any]:
    """Plain Python numbers, whole ones as int, for JSON."""
    return [plain_number(v) for v in np.asarray(values).tolist()]
