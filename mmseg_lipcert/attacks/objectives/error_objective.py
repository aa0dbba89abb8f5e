from __future__ import annotations

import torch
from torch import Tensor

from .label_margins import label_margins
from .quota_objective import QuotaObjective


class ErrorObjective(QuotaObjective):
    """Push pixel accuracy below a threshold.

    Args:
        target: Labels (N, H, W).
        threshold: Accuracy in (0, 1] that is to be undercut.
        ignore_index: Label of ignored pixels. Defaults to 255.

    Raises:
        ValueError: If the threshold is not in (0, 1].
    """

    def __init__(self, target: Tensor, threshold: float, ignore_index: int = 255) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {threshold}")
        valid = target != ignore_index
        area = valid.flatten(1).sum(1)
        # The smallest number of errors after which (area - errors) / area < threshold.
        quota = area - torch.ceil(threshold * area.double() - 1e-9).long() + 1
        super().__init__(valid, quota)
        self.labels = target.masked_fill(~valid, 0).long()

    def lacking(self, logits: Tensor) -> Tensor:
        """Margins of the labels."""
        return label_margins(logits, self.labels)

    def changed(self, logits: Tensor) -> Tensor:
        """Where the prediction is wrong."""
        return logits.argmax(1) != self.labels
