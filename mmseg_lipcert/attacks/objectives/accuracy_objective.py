from __future__ import annotations

import torch
from torch import Tensor

from .objective import Objective


class AccuracyObjective(Objective):
    """As few correct pixels as possible; subclasses say by which loss.

    Args:
        target: Labels (N, H, W).
        ignore_index: Label of ignored pixels. Defaults to 255.
    """

    def __init__(self, target: Tensor, ignore_index: int = 255) -> None:
        self.valid = target != ignore_index
        self.labels = target.masked_fill(~self.valid, 0).long()

    def score(self, logits: Tensor) -> Tensor:
        """Correct pixels (N,)."""
        return (self.valid & (logits.argmax(1) == self.labels)).flatten(1).sum(1)

    def sum(self, values: Tensor) -> Tensor:
        """Sums (N,) of values (N, H, W) over the valid pixels."""
        return torch.where(self.valid, values, 0).flatten(1).sum(1)
