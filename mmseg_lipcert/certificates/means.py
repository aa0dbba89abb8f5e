"""Means over classes on one image: mAcc, mIoU, mDice, mSpecificity.

Every class gets the whole budget on its own, so the mean of the classes' minima is a lower bound
of the mean under any one attack. A class without ground truth is left out of the mean while its
IoU is NaN, and enters it as 0 as soon as an attack can create a pixel of it, as in MMSegmentation.
"""

import math

from .image_problem import ImageProblem
from .iou import RatioProblem
from .knapsack import ShareProblem
from .metrics import METRICS, Metric

# Relative width at which the bisection for a budget stops.
_TOLERANCE = 1e-13


class MeanProblem:
    """A mean over the classes of one image under attack.

    Args:
        problem: The image.
        metric: A mean.
        limit: Largest squared budget that :meth:`worst` will be asked about. Defaults to any.
    """

    def __init__(self, problem: ImageProblem, metric: Metric, limit: float = math.inf) -> None:
        self._problem, self._metric = problem, metric
        of = METRICS[metric.of]
        kind = RatioProblem if of.ratio else ShareProblem
        self._classes = [kind(problem, of, c, limit) for c in range(problem.num_classes)]

    def worst(self, budget: float) -> float:
        """Q1: the mean of the classes' minima; NaN when no class has a value."""
        values = [one.worst(budget) for one in self._classes]
        values = [v for v in values if not math.isnan(v)]
        return math.fsum(values) / len(values) if values else math.nan

    def lowest_budget(self, threshold: float) -> float:
        """Q2: infimum of the squared budgets that push the mean below a threshold.

        The certified mean is a falling step function of the budget: a bracket is doubled, with
        only the pixels that its upper end can reach, and then bisected.

        Args:
            threshold: At most the mean without attack.

        Returns:
            The squared budget; infinite when no attack suffices.
        """
        problem, metric = self._problem, self._metric
        if threshold <= 0 or (
            # Classes that cannot be left: only then may an unlimited attack leave something.
            problem.has_classifier and MeanProblem(problem, metric).worst(math.inf) >= threshold
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
