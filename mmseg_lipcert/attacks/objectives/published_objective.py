from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .accuracy_objective import AccuracyObjective
from .label_margins import label_margins

PixelLoss = Callable[[Tensor, Tensor, float], Tensor]

#: Median margin of the clean prediction below which logits are magnified for the loss.
_MARGIN = 5.0


class PublishedObjective(AccuracyObjective):
    """A published loss over all valid pixels.

    Published losses expect the logits of ordinary networks, whose softmax is nearly certain. The
    logits of 1-Lipschitz networks are far smaller; they are magnified so that the median margin of
    the valid pixels is 5 before the attack. Larger ones stay as they are.

    Args:
        target: Labels (N, H, W).
        pixel_loss: One of ``pixel_losses``.
        ignore_index: Label of ignored pixels. Defaults to 255.
    """

    def __init__(self, target: Tensor, pixel_loss: PixelLoss, ignore_index: int = 255) -> None:
        super().__init__(target, ignore_index)
        self.pixel_loss = pixel_loss

    def prepare(self, logits: Tensor, eps: Tensor) -> None:
        """Measure the margins."""
        margins = label_margins(logits, self.labels).abs().masked_fill(~self.valid, torch.nan)
        typical = margins.flatten(1).nanmedian(1).values
        self.scale = (_MARGIN / typical.clamp_min(1e-12)).clamp_min(1).nan_to_num(nan=1)

    def loss(self, logits: Tensor, progress: float) -> Tensor:
        """Minus the mean loss of the valid pixels."""
        values = self.pixel_loss(logits * self.scale.view(-1, 1, 1, 1), self.labels, progress)
        return -self.sum(values) / self.valid.flatten(1).sum(1).clamp_min(1)
