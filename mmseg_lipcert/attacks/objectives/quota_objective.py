from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from .objective import Objective

# Under a budget, aim this share of what was changed so far beyond it, and this share of the set.
_GROWTH, _START = 0.1, 0.01
# How far beyond the border pixels are pushed, as a share of the dearest one aimed at: much at
# first, because pixels interfere, in the end only against rounding.
_BEYOND = (0.1, 1e-3)


class QuotaObjective(Objective):
    """Change at least so many pixels of a set, whichever are cheapest at the moment.

    A subclass says what a pixel still lacks; the loss is the sum over the cheapest: the gradient of
    what a certificate's knapsack counts. Without a budget (``minimal_norm``) all of the quota is
    aimed at. Under a budget (``prepare`` was called) the quota may be out of reach, and aiming at
    it would spend everything on pixels that never fall: the aim is then a little more than what was
    reached so far.

    Args:
        pixels: Boolean masks (N, H, W) of the sets.
        quota: Pixels to be changed (N,).
    """

    def __init__(self, pixels: Tensor, quota: Tensor) -> None:
        self.pixels = pixels
        self.quota = quota
        self.most: Tensor | None = None

    @abstractmethod
    def lacking(self, logits: Tensor) -> Tensor:
        """What every pixel (N, H, W) lacks; at most 0 where it is changed."""

    @abstractmethod
    def changed(self, logits: Tensor) -> Tensor:
        """Boolean (N, H, W): which pixels are changed."""

    def prepare(self, logits: Tensor, eps: Tensor) -> None:
        """Note how many pixels need no change: from there the aim rises."""
        self.first = self.most = self._count(logits)

    def loss(self, logits: Tensor, progress: float) -> Tensor:
        """Sums (N,) of what the cheapest pixels lack, slightly beyond the border."""
        aim = self._aim(logits.detach()).view(-1, 1)
        lacking = self.lacking(logits).masked_fill(~self.pixels, torch.inf).flatten(1)
        cheapest = lacking.topk(max(1, int(aim.max())), largest=False).values
        aimed = torch.arange(cheapest.shape[1], device=aim.device) < aim
        aimed &= cheapest.isfinite()
        cheapest = torch.where(aimed, cheapest, 0)
        share = math.exp((1 - progress) * math.log(_BEYOND[0]) + progress * math.log(_BEYOND[1]))
        beyond = share * cheapest.detach().amax(1, keepdim=True).clamp_min(1e-6)
        return torch.where(aimed, cheapest + beyond, 0).clamp_min(0).sum(1)

    def score(self, logits: Tensor) -> Tensor:
        """Pixels (N,) that are missing from the quota."""
        return (self.quota - self._count(logits)).clamp_min(0)

    def _count(self, logits: Tensor) -> Tensor:
        return (self.changed(logits) & self.pixels).flatten(1).sum(1)

    def _aim(self, logits: Tensor) -> Tensor:
        if self.most is None:
            return self.quota
        self.most = torch.maximum(self.most, self._count(logits))
        start = _START * (self.pixels.flatten(1).sum(1) - self.first)
        aim = self.most + _GROWTH * (self.most - self.first) + start
        return torch.minimum(aim.ceil().long(), self.quota)
