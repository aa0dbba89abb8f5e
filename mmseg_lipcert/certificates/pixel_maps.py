"""An image pixel by pixel, where several of them may share one logit pixel."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .image_problem import ImageProblem


class PixelMaps:
    """Labels, predictions and costs of all image pixels.

    Image pixels of one cell share a logit pixel: they have one prediction and one cost, which an
    attacker pays once for all of them.

    Args:
        problem: The image.
        labels: ``(H, W)``.
        cells: Logit row of each image row and logit column of each image column; None: one each.

    Attributes:
        labels: ``(H, W)``.
        prediction: ``(H, W)`` predicted labels.
        flip: ``(H, W)`` squared costs of another prediction.
        cell: ``(H, W)`` number of the logit pixel.
    """

    def __init__(
        self, problem: ImageProblem, labels: Tensor, cells: tuple[Tensor, Tensor] | None = None
    ) -> None:
        self._problem = problem
        self.labels = labels.cpu().numpy()
        prediction, flip = problem.pixel_maps()
        height, width = prediction.shape
        rows, columns = np.arange(height), np.arange(width)
        if cells is not None:
            rows, columns = (index.cpu().numpy() for index in cells)
        self.cell = rows[:, None] * width + columns
        self.prediction = prediction.ravel()[self.cell]
        self.flip = np.square(flip).ravel()[self.cell]

    def entry(self, class_index: int) -> np.ndarray:
        """Squared costs ``(H, W)`` of the prediction of a class."""
        return np.square(self._problem.entry_map(class_index)).ravel()[self.cell]


def cheapest_sum(prices: np.ndarray, count: int) -> float:
    """Sum of the ``count`` smallest prices; 0 for none or fewer, infinite beyond all of them."""
    if count <= 0:
        return 0.0
    if count > len(prices):
        return float("inf")
    return np.partition(prices, count - 1)[:count].sum().item()


def shared_prices(costs: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Costs of pixels, shared by those of one cell: a lower bound of what any of them cost.

    Whoever takes the pixels A of a set pays the cost w of every cell that A meets. As the set has
    n(cell) >= |A in cell| pixels there, this is at least the sum over A of ``w / n(cell)``.

    Args:
        costs: Squared costs ``(n,)`` of the pixels of a set, equal within a cell.
        cells: Their cells ``(n,)``.
    """
    _, inverse, counts = np.unique(cells, return_inverse=True, return_counts=True)
    return costs / counts[inverse]
