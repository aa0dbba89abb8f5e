"""Means over classes on one image: mAcc, mIoU, mDice.

Every class gets the whole budget on its own, so the mean of the classes' minima is a lower bound
of the mean under any one attack. A class without ground truth is left out of the mean while its
IoU is NaN, and enters it as 0 as soon as an attack can create a pixel of it, as in MMSegmentation.
"""

import math

from .attack_group import AttackGroup
from .frontier import attack_frontier
from .image_problem import ImageProblem
from .iou import class_terms
from .knapsack import share_problem, worst_share
from .ratio import RATIO_METRICS

MEAN_METRICS = {"macc": "recall", "miou": "iou", "mdice": "dice"}
# Relative width at which the bisection for a budget stops.
_TOLERANCE = 1e-13


class MeanProblem:
    """A mean metric of one image, for every squared budget up to a limit.

    Args:
        problem: The image.
        metric: One of ``MEAN_METRICS``.
        limit: Largest squared budget that will be asked about.
    """

    def __init__(self, problem: ImageProblem, metric: str, limit: float) -> None:
        self._ratio = RATIO_METRICS.get(MEAN_METRICS[metric])
        classes = range(problem.num_classes)
        if self._ratio is None:
            self._terms = [share_problem(problem, "recall", c, limit) for c in classes]
        else:
            self._terms = [self._class_problem(problem, c, limit) for c in classes]

    def _class_problem(
        self, problem: ImageProblem, class_index: int, limit: float
    ) -> tuple[float, float, AttackGroup, AttackGroup]:
        good, area = class_terms(problem, self._ratio, class_index)
        breakable = problem.true_positives(class_index, limit)
        return good, area, breakable, problem.true_negatives(class_index, limit)

    def worst(self, budget: float) -> float:
        """Q1: the mean of the classes' minima; NaN when no class has a value."""
        if self._ratio is None:
            values = [float(worst_share(*terms, budget)) for terms in self._terms]
        else:
            values = [
                self._ratio.lowest(good, area, *attack_frontier(breakable, makeable, budget))
                for good, area, breakable, makeable in self._terms
            ]
        values = [v for v in values if not math.isnan(v)]
        return math.fsum(values) / len(values) if values else math.nan


def mean_budget(problem: ImageProblem, metric: str, threshold: float, can_hold: bool) -> float:
    """Q2: infimum of the squared budgets that push a mean metric below a threshold.

    The certified mean is a falling step function of the budget: a bracket is doubled, with only
    the pixels that its upper end can reach, and then bisected.

    Args:
        problem: The image; its clean value is at least the threshold.
        metric: One of ``MEAN_METRICS``.
        threshold: The mean to be guaranteed.
        can_hold: Whether an unlimited attack may leave something (classes that cannot be left).

    Returns:
        The squared budget; infinite when no attack suffices.
    """
    if threshold <= 0 or (
        can_hold and MeanProblem(problem, metric, math.inf).worst(math.inf) >= threshold
    ):
        return math.inf
    if MeanProblem(problem, metric, 0.0).worst(0.0) < threshold:
        return 0.0
    low, high = 0.0, problem.typical_cost() ** 2
    while (mean := MeanProblem(problem, metric, high)).worst(high) >= threshold:
        low, high = high, 4 * high
    while high - low > _TOLERANCE * high:
        middle = (low + high) / 2
        if mean.worst(middle) < threshold:
            high = middle
        else:
            low = middle
    return high
