"""IoU and Dice of one class: on one image (Q1 and Q2), and over a dataset (Q1).

Over a dataset every image has its own budget, and the minimum of
``sum_i (T_i - a_i) / sum_i (D_i - q a_i + b_i)`` is a fractional program: the sum of every image's
own worst pair is not a lower bound of it. Dinkelbach (1967): for a guess t, each image minimises
``numerator - t * denominator`` on its own; the attained ratio is the next guess, until it stops
falling.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from .attack_group import EMPTY_GROUP, AttackGroup
from .budget import squared_budget
from .frontier import attack_frontier, frontier_hull
from .image_problem import ImageProblem
from .metrics import METRICS, Metric, Ratio
from .validation import check_class_index, check_eps, check_lipschitz

# Relative error that sums and quotients of float64 may have; given to the attacker.
_ROUNDING = 1e-13


class RatioProblem:
    """IoU or Dice of a class on one image under attack.

    Args:
        problem: The image.
        metric: With ``ratio``.
        class_index: The class.
        limit: Largest squared budget that :meth:`worst` will be asked about. Defaults to any.
    """

    def __init__(
        self, problem: ImageProblem, metric: Metric, class_index: int, limit: float = math.inf
    ) -> None:
        assert metric.ratio is not None, f"{metric.name} is no ratio"
        self.ratio = metric.ratio
        self.good, self.area = problem.terms(metric, class_index)
        self.breakable = problem.true_positives(class_index, limit)
        self.makeable = problem.true_negatives(class_index, limit)

    def worst(self, budget: float) -> float:
        """Q1: the smallest value within a squared budget.

        A class that is in neither map is NaN until an attack can create a pixel of it, then 0.
        """
        frontier = attack_frontier(self.breakable, self.makeable, budget)
        return self.ratio.lowest(self.good, self.area, *frontier)

    def lowest_budget(self, threshold: float) -> float:
        """Q2: infimum of the squared budgets that push the value below a threshold.

        For every number of true positives to break, the number of false positives still needed is
        in closed form; the cheapest pair wins. With different profits see ``_fractional_budget``.

        Args:
            threshold: At most the value without attack; the groups must be complete (no limit).

        Returns:
            The squared budget; infinite when no attack suffices.
        """
        if threshold <= 0:
            return math.inf
        # No ratio of pixel counts lies between 0 and this; dividing by less would overflow.
        threshold = max(threshold, 1e-200)
        breakable, makeable = self.breakable, self.makeable
        terms = self.ratio, self.good, self.area
        if breakable.uniform and makeable.uniform:
            return _exact_budget(*terms, breakable, makeable, threshold)
        # Nothing is gained from a group before its cheapest item: each group alone, or both.
        options = ((breakable, EMPTY_GROUP), (EMPTY_GROUP, makeable), (breakable, makeable))
        budgets = []
        for first, second in options:
            entry = max(g.cheapest for g in (first, second) if g is not EMPTY_GROUP)
            cost = _fractional_budget(*terms, first, second, threshold)
            budgets.append(max(entry, cost))
        return min(budgets)


def _exact_budget(
    ratio: Ratio,
    good: float,
    area: float,
    breakable: AttackGroup,
    makeable: AttackGroup,
    threshold: float,
) -> float:
    """``RatioProblem.lowest_budget`` for groups of equal profits: whole items only."""
    lost = breakable.gained
    needed = ratio.factor * (good - lost) / threshold - area + ratio.drop * lost
    # Rounding is repaired with the very expression that Q1 evaluates.
    items = np.maximum(np.floor(needed / makeable.unit) - 1, 0)
    for _ in range(3):
        value = ratio.value(good, area, lost, makeable.unit * items)
        items = np.where(value < threshold, items, items + 1)
    feasible = items < len(makeable.gained)
    costs = breakable.spent[feasible] + makeable.spent[items[feasible].astype(np.int64)]
    return float(costs.min(initial=math.inf))


def _fractional_budget(
    ratio: Ratio,
    good: float,
    area: float,
    breakable: AttackGroup,
    makeable: AttackGroup,
    threshold: float,
) -> float:
    """Cheapest fractional attack after which the ratio equals the threshold.

    Along the pairs (a, b) that reach the threshold, b is affine in a, so the sum of both costs is
    convex and piecewise linear: its minimum is at a whole item of either group.
    """
    slope = ratio.factor / threshold - ratio.drop
    offset = ratio.factor * good / threshold - area
    # Rounding must not turn a pair that just suffices into one that costs infinitely much.
    offset -= _ROUNDING * (abs(offset) + slope * good)
    lost = np.concatenate((breakable.gained, np.maximum(offset - makeable.gained, 0.0) / slope))
    made = np.maximum(offset - slope * breakable.gained, 0.0)
    made = np.concatenate((made, makeable.gained))
    costs = breakable.fractional_cost(lost) + makeable.fractional_cost(made)
    return float(costs.min())


def lowest_dataset_ratio(
    ratio: Ratio, good: np.ndarray, area: np.ndarray, hulls: Sequence[Any]
) -> float:
    """Smallest dataset value of IoU or Dice of a class, each image with its own frontier.

    Args:
        ratio: The metric.
        good: ``(images,)`` T.
        area: ``(images,)`` D.
        hulls: One per image: the vertices ``(a, b)`` of its ``frontier_hull``, ``(n, 2)``.

    Returns:
        The minimum, attained by a choice of vertices. For a class without ground truth: 0 when a
        pixel of it is predicted or can be made, else NaN.
    """
    sizes = np.array([len(hull) for hull in hulls])
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    vertices = np.concatenate([np.asarray(hull, dtype=np.float64) for hull in hulls])
    lost, made = vertices[:, 0], vertices[:, 1]
    total_good, total_area = good.sum(), area.sum()
    if total_good == 0:
        return 0.0 if total_area + made.sum() > 0 else math.nan
    guess = ratio.value(total_good, total_area, 0.0, 0.0).item()
    while True:
        gain = (ratio.factor - guess * ratio.drop) * lost + guess * made
        best = np.maximum.reduceat(gain, starts)
        # The first vertex of every image that attains its best.
        winners = np.flatnonzero(gain == np.repeat(best, sizes))
        owner = np.searchsorted(starts, winners, side="right") - 1
        winners = winners[np.unique(owner, return_index=True)[1]]
        attained = ratio.value(
            total_good, total_area, lost[winners].sum(), made[winners].sum()
        ).item()
        if not attained < guess:
            return guess
        guess = attained


def dataset_worst_case_iou(
    images: Iterable[tuple[Tensor, Tensor]],
    class_index: int,
    eps: float,
    lipschitz: float,
    *,
    ignore_index: int = 255,
    classifier: Tensor | None = None,
) -> float:
    """Smallest IoU of a class over a dataset when every image is attacked with the same norm.

    Intersections and unions are summed over the images, as MMSegmentation reports IoU, and every
    image has its own budget; images without the class count, because false positives can be made
    there. Exact under the Lipschitz relaxation (module docstring).

    Args:
        images: Pairs of logits ``(K, H, W)`` and target (labels ``(H, W)`` or label counts
            ``(classes, H, W)``); sizes may differ. Read once, one at a time.
        class_index: The class.
        eps: Norm of the perturbation of each image, in [0, 1] pixel units.
        lipschitz: Joint Lipschitz bound of the map from image to logits (to features with
            ``classifier``).
        ignore_index: Label of the pixels that never count.
        classifier: ``(K, C)`` last affine map, for costs in feature space.

    Returns:
        The certified IoU; NaN when the class is nowhere and cannot be created.

    Raises:
        ValueError: On no image, and on any input that cannot be certified.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]])
        >>> dataset_worst_case_iou([(logits, torch.tensor([[0, 1]]))], 0, 0.8, 1.0)
        0.5
    """
    norms = check_eps(eps)
    if len(norms) > 1:
        raise ValueError(f"dataset_worst_case_iou takes one eps, got {norms}")
    budget = squared_budget(norms[0], check_lipschitz(lipschitz))
    problems, hulls = [], []
    for logits, target in images:
        problem = ImageProblem(logits, target, ignore_index=ignore_index, classifier=classifier)
        class_index = check_class_index(class_index, problem.num_classes, "IoU")
        one = RatioProblem(problem, METRICS["iou"], class_index, budget)
        hull = frontier_hull(*attack_frontier(one.breakable, one.makeable, budget))
        problems.append(one)
        hulls.append(np.stack(hull, axis=1))
    if not problems:
        raise ValueError("images is empty: there is no dataset to certify")
    good, area = (
        np.array(values) for values in zip(*((p.good, p.area) for p in problems), strict=True)
    )
    return lowest_dataset_ratio(problems[0].ratio, good, area, hulls)
