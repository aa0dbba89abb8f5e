from __future__ import annotations

import torch
from torch import Tensor

from ..ball import norms
from .accuracy_objective import AccuracyObjective
from .label_margins import label_margins

#: Sharpness of the count, in margins of the dearest pixel that the attack can flip.
_SHARPNESS = 10.0


class CountObjective(AccuracyObjective):
    r"""A smooth count of the correct pixels, :math:`\sum_w \sigma(10 m_w / m^*)`.

    An attack that can move all logits together by a norm B flips the correct pixels of smallest
    margin m, as many as :math:`\sum (m / \sqrt 2)^2 \le B^2` allows; m* is the margin of the last
    of them. Pixels that are lost for good, and those far out of reach, hardly pull. A certificate
    knows :math:`B \le L \epsilon`; here B is the largest movement that the attack has caused so
    far, so that the aim fits networks of any sensitivity.

    Args:
        target: Labels (N, H, W).
        ignore_index: Label of ignored pixels. Defaults to 255.
    """

    def prepare(self, logits: Tensor, eps: Tensor) -> None:
        """Sort the clean margins of the correct pixels."""
        self.clean = logits
        margins = label_margins(logits, self.labels)
        margins = torch.where(self.valid & (margins > 0), margins, torch.inf).flatten(1)
        self.margins = margins.sort(1).values
        self.spent = (self.margins.double().square() / 2).cumsum(1)
        self.correct = self.margins.isfinite().sum(1)
        self.reach = torch.zeros_like(eps)

    def loss(self, logits: Tensor, progress: float) -> Tensor:
        """The smooth count (N,)."""
        sharpness = _SHARPNESS / self._edge(logits.detach())
        return self.sum(torch.sigmoid(sharpness * label_margins(logits, self.labels)))

    def _edge(self, logits: Tensor) -> Tensor:
        """m* (N, 1, 1); before the first step, when nothing has moved, the median margin."""
        # A shift of all logits of a pixel changes no prediction.
        moved = logits - self.clean
        self.reach = torch.maximum(self.reach, norms(moved - moved.mean(1, keepdim=True)))
        count = (self.spent <= self.reach.square().unsqueeze(1)).sum(1)
        count = torch.where(self.reach > 0, count, self.correct // 2)
        last = torch.minimum(count, self.correct - 1).clamp_min(0).unsqueeze(1)
        edge = self.margins.gather(1, last)
        # An image without a correct pixel has none to be aimed at.
        return torch.where(edge.isfinite(), edge, 1).clamp_min(1e-12).unsqueeze(2)
