"""Cross entropy with a temperature, for networks whose logits cannot grow."""

from collections.abc import Sequence

from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from .pixel_loss import PixelLoss

__all__ = ["TemperatureCrossEntropyLoss"]


@MODELS.register_module()
class TemperatureCrossEntropyLoss(PixelLoss):
    r"""Softmax cross entropy of scaled logits, :math:`CE(T z, y)`.

    A 1-Lipschitz network cannot scale its logits up, so :math:`T` sets how large a margin the loss
    asks for: margins well above :math:`1/T` no longer count. A small :math:`T` trades clean for
    certified accuracy.

    The loss is not divided by :math:`T`: at :math:`T=1` it is the usual cross entropy, and its
    gradient with respect to the logits is :math:`T (softmax(T z) - e_y)`. ``TauCrossEntropyLoss``
    of deel-torchlip divides; ``loss_weight=1 / temperature`` gives its scale. Adaptive optimizers
    train the same either way.

    Source: L. Béthune et al., "Pay attention to your loss: understanding misconceptions about
    1-Lipschitz neural networks", NeurIPS 2022.

    Args:
        temperature: Factor :math:`T` of the logits, above 0.
        class_weight: See :class:`PixelLoss`. Defaults to None.
        loss_weight: Factor of the returned loss. Defaults to 1.0.
        reduction: "mean", "sum" or "none", over pixels. Defaults to "mean".
        loss_name: Key in the dict of losses. Defaults to "loss_ce".
        avg_non_ignore: Whether the mean leaves ignored pixels out of its divisor. If False, each
            ignored pixel adds 1 to it, so that images with few labels weigh less.
            Defaults to True.

    Raises:
        ValueError: If ``temperature`` is not positive.

    Examples:
        >>> import torch
        >>> loss = TemperatureCrossEntropyLoss(temperature=20.0)
        >>> logits, labels = torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long)
        >>> round(loss(logits, labels).item(), 4)  # log 4
        1.3863
    """

    def __init__(
        self,
        temperature: float,
        class_weight: Sequence[float] | str | None = None,
        loss_weight: float = 1.0,
        reduction: str = "mean",
        loss_name: str = "loss_ce",
        avg_non_ignore: bool = True,
    ) -> None:
        super().__init__(class_weight, loss_weight, reduction, loss_name, avg_non_ignore)
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature

    def terms(self, logits: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Compute one cross entropy per pixel; see :meth:`PixelLoss.terms`."""
        return F.cross_entropy(self.temperature * logits, target, reduction="none"), weights

    def extra_repr(self) -> str:
        """Describe the temperature in the printed model."""
        return f"temperature={self.temperature}"
