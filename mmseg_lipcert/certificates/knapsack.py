"""Metrics with one group of targets: pixel accuracy, stability, recall, specificity.

Each is a share ``good / area`` of which an attacker takes pixels, cheapest first
(docs/mathematics.md, 5). Q1 asks what is left within a budget, Q2 which budget leaves too little.
"""

import math

import numpy as np

from .image_problem import ImageProblem
from .metrics import Metric


class ShareProblem:
    """A share of one image under attack.

    Args:
        problem: The image.
        metric: With ``targets``.
        class_index: Its class; None for a metric of the image.
        limit: Largest squared budget that will be asked about. Defaults to any.
    """

    def __init__(
        self,
        problem: ImageProblem,
        metric: Metric,
        class_index: int | None = None,
        limit: float = math.inf,
    ) -> None:
        self.good, self.area = problem.terms(metric, class_index)
        self.group = problem.targets(metric, class_index, limit)

    def worst(self, budget: float) -> float:
        """Q1: the share that is left within a squared budget; NaN when the area is empty."""
        if self.area == 0:
            return math.nan
        return float(np.maximum(self.good - self.group.gain(budget), 0.0) / self.area)

    def lowest_budget(self, threshold: float) -> float:
        """Q2: infimum of the squared budgets that push the share below a threshold.

        Args:
            threshold: At most the share without attack; the group must be complete (no limit).

        Returns:
            The squared budget; infinite when no attack suffices.
        """
        good, area, group = self.good, self.area, self.group
        if max(good - group.gained[-1], 0.0) / area >= threshold:
            return math.inf
        if not group.uniform:
            return max(group.cheapest, float(group.fractional_cost(good - threshold * area)))
        fallen = max(0, math.floor((good - threshold * area) / group.unit) - 1)
        while (good - group.gained[fallen]) / area >= threshold:
            fallen += 1
        return float(group.spent[fallen])
