"""Metrics with one group of targets: pixel accuracy, stability, recall, specificity.

Each is a share ``good / area`` of which an attacker takes pixels, cheapest first (THEORY: shared
budget = knapsack). Q1 asks what is left within a budget, Q2 which budget leaves too little.
"""

import math

import numpy as np

from .attack_group import AttackGroup
from .image_problem import ImageProblem

ONE_GROUP_METRICS = ("pixel_accuracy", "stability", "recall", "specificity")


def share_problem(
    problem: ImageProblem, metric: str, class_index: int | None, limit: float
) -> tuple[float, float, AttackGroup]:
    """The image pixels that are good, the area they are divided by, and the group to attack.

    Args:
        problem: The image.
        metric: One of ``ONE_GROUP_METRICS``.
        class_index: The class, for recall and specificity.
        limit: Largest squared budget that will be asked about.
    """
    if metric == "pixel_accuracy":
        return problem.correct, problem.valid, problem.correct_pixels(limit)
    if metric == "stability":
        return problem.valid, problem.valid, problem.all_pixels(limit)
    if metric == "recall":
        good, area = problem.intersection[class_index], problem.gt_area[class_index]
        return good.item(), area.item(), problem.true_positives(class_index, limit)
    good, area = problem.true_negative_area(class_index), problem.negative_area(class_index)
    return good, area, problem.true_negatives(class_index, limit)


def worst_share(
    good: float, area: float, group: AttackGroup, budget: float | np.ndarray
) -> np.ndarray:
    """Q1: the share that is left within a squared budget; NaN when the area is empty."""
    if area == 0:
        return np.full(np.shape(budget), math.nan)
    return np.maximum(good - group.gain(budget), 0.0) / area


def share_budget(good: float, area: float, group: AttackGroup, threshold: float) -> float:
    """Q2: infimum of the squared budgets that push the share below a threshold.

    Args:
        good: Good image pixels without attack; ``good / area`` is at least the threshold.
        area: Image pixels that the share is divided by, positive.
        group: The complete group (no limit).
        threshold: The share to be guaranteed.

    Returns:
        The squared budget; infinite when no attack suffices.
    """
    if max(good - group.gained[-1], 0.0) / area >= threshold:
        return math.inf
    if not group.uniform:
        return max(group.cheapest, float(group.fractional_cost(good - threshold * area)))
    fallen = max(0, math.floor((good - threshold * area) / group.unit) - 1)
    while (good - group.gained[fallen]) / area >= threshold:
        fallen += 1
    return float(group.spent[fallen])
