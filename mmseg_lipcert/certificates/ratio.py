"""IoU and Dice as one family of ratios under attack."""

import math
from typing import NamedTuple

import numpy as np


class Ratio(NamedTuple):
    """A metric ``factor (T - a) / (D - drop a + b)``.

    T are the true positives, a of which are lost; b false positives are made. IoU has
    ``factor = 1, drop = 0`` and D the union (a lost true positive is still ground truth and stays
    in it); Dice has ``factor = 2, drop = 1`` and D the sum of the two areas (a lost true positive
    leaves the predicted area).

    Attributes:
        factor: Multiplier of the numerator.
        drop: What a lost true positive takes from the denominator.
    """

    factor: int
    drop: int

    def denominator(self, intersection, gt_area, pred_area):
        """D of the clean prediction."""
        union = gt_area + pred_area - intersection
        return union + intersection if self.drop else union

    def value(self, intersection, denominator, lost, made) -> np.ndarray:
        """The metric after an attack; NaN where the class is in neither map."""
        good = np.asarray(self.factor * np.maximum(intersection - lost, 0.0), dtype=np.float64)
        area = np.asarray(denominator - self.drop * lost + made, dtype=np.float64)
        return np.divide(good, area, out=np.full_like(good * area, math.nan), where=area > 0)

    def lowest(self, intersection, denominator, lost: np.ndarray, made: np.ndarray) -> float:
        """The smallest value over pairs of attacks; NaN when no pair makes it a number."""
        values = self.value(intersection, denominator, lost, made)
        values = values[~np.isnan(values)]
        return float(values.min()) if len(values) else math.nan


IOU = Ratio(factor=1, drop=0)
DICE = Ratio(factor=2, drop=1)
RATIO_METRICS = {"iou": IOU, "dice": DICE}
