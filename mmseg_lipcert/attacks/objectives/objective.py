from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Objective(ABC):
    """What an attacker wants from the logits of a batch of images: descend on it.

    ``loss`` shows the way, ``score`` says how good a perturbation is: a number of pixels.
    """

    def prepare(self, logits: Tensor, eps: Tensor) -> None:
        """Look at the clean logits (N, K, H, W) and the norms (N,) that are allowed."""
        del logits, eps  # most objectives need neither

    @abstractmethod
    def loss(self, logits: Tensor, progress: float) -> Tensor:
        """Differentiable losses (N,) of logits (N, K, H, W); ``progress`` runs from 0 to 1."""

    @abstractmethod
    def score(self, logits: Tensor) -> Tensor:
        """Pixels (N,) that the attacker has not changed yet."""
