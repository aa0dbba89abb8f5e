from __future__ import annotations

from torch import Tensor

from .error_objective import ErrorObjective


class KnapsackObjective(ErrorObjective):
    """As few correct pixels as possible, the cheapest first: what a certificate's knapsack counts.

    Args:
        target: Labels (N, H, W).
        ignore_index: Label of ignored pixels. Defaults to 255.
    """

    def __init__(self, target: Tensor, ignore_index: int = 255) -> None:
        super().__init__(target, threshold=1.0, ignore_index=ignore_index)
        self.quota = self.pixels.flatten(1).sum(1)
