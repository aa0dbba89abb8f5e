"""Shares and means in which what is undefined stays undefined."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def defined_mean(values: Sequence[float]) -> float:
    """Mean of the defined values, independent of their order; NaN without any."""
    values = [v for v in values if v is not None and not math.isnan(v)]
    if not values or any(math.isinf(v) for v in values):
        return math.inf if values else math.nan
    return math.fsum(values) / len(values)


def shares(part: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Shares; NaN where the area is empty."""
    part, area = np.asarray(part, dtype=np.float64), np.asarray(area, dtype=np.float64)
    part = np.maximum(part, 0.0)
    return np.divide(part, area, out=np.full_like(part, math.nan), where=area > 0)
