"""Hinge-Kantorovich-Rubinstein loss over pixels."""

from collections.abc import Sequence

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from .pixel_loss import PixelLoss

__all__ = ["HKRLoss"]


@MODELS.register_module()
class HKRLoss(PixelLoss):
    r"""Multi-class hinge-Kantorovich-Rubinstein loss, one class against the rest.

    Every pixel is a sample. With :math:`K` classes, weighted means :math:`E` over the valid pixels
    of the batch, and the margin :math:`m`,

    ```math
    L = \alpha\, E\Big[\frac{1}{K}\Big((K-1) \big(\tfrac m2 - z_y\big)_+
        + \sum_{k \ne y} \big(\tfrac m2 + z_k\big)_+\Big)\Big]
        - (1-\alpha) \frac{1}{K} \sum_k \big(E[z_k | y = k] - E[z_k | y \ne k]\big)
    ```

    The second term estimates, for a 1-Lipschitz network, how far apart the classes are
    (Wasserstein-1); it has no minimum for other networks. A mean over no pixel is 0: a class that
    the batch lacks only has its other mean.

    Source: M. Serrurier et al., "Achieving robustness in classification using optimal transport
    with hinge regularization", CVPR 2021; the multi-class form is ``HKRMulticlassLoss`` of
    deel-torchlip, which this loss equals when every pixel weighs the same.

    Args:
        alpha: Share of the hinge, from 0 (transport only) to 1 (hinge only). Defaults to 0.9.
        min_margin: Margin :math:`m` that the hinge asks for, above 0. Defaults to 1.0.
        class_weight: See :class:`PixelLoss`. The mean over a class's own pixels does not depend
            on it. Defaults to None.
        loss_weight: Factor of the returned loss. Defaults to 1.0.
        reduction: "mean", "sum" or "none", over pixels. Defaults to "mean".
        loss_name: Key in the dict of losses. Defaults to "loss_hkr".

    Raises:
        ValueError: If ``alpha`` is not in [0, 1] or ``min_margin`` is not positive.

    Examples:
        >>> import torch
        >>> labels = torch.tensor([[[0, 1]]])
        >>> logits = torch.tensor([[[[0.5, -0.5]], [[-0.5, 0.5]]]])
        >>> HKRLoss(alpha=0.5)(logits, labels).item()  # no hinge, transport 1
        -0.5
    """

    def __init__(
        self,
        alpha: float = 0.9,
        min_margin: float = 1.0,
        class_weight: Sequence[float] | str | None = None,
        loss_weight: float = 1.0,
        reduction: str = "mean",
        loss_name: str = "loss_hkr",
    ) -> None:
        super().__init__(class_weight, loss_weight, reduction, loss_name)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], got {alpha}")
        if not min_margin > 0:
            raise ValueError(f"min_margin must be above 0, got {min_margin}")
        self.alpha = alpha
        self.min_margin = min_margin

    def terms(self, logits: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Compute one term per pixel, whose weighted mean is the loss; see the base class."""
        classes = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1)
        is_class = target.unsqueeze(1) == classes
        signs = torch.where(is_class, 1.0, -1.0).to(logits.dtype)
        hinges = F.relu(self.min_margin / 2 - signs * logits)
        hinge = torch.where(is_class, (logits.shape[1] - 1) * hinges, hinges).mean(dim=1)
        transport = (_transport_factors(is_class, target, weights) * logits).mean(dim=1)
        return self.alpha * hinge - (1 - self.alpha) * transport, weights

    def extra_repr(self) -> str:
        """Describe the parameters in the printed model."""
        return f"alpha={self.alpha}, min_margin={self.min_margin}"


def _transport_factors(is_class: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return the factors that turn a mean over pixels into a difference of two class means.

    Args:
        is_class: One-hot labels of shape (N, K, H, W).
        target: Labels of shape (N, H, W).
        weights: Pixel weights of shape (N, H, W).

    Returns:
        Shape (N, K, H, W): total weight over the class's weight where the pixel is of the class,
        else minus total weight over the weight of all other pixels.
    """
    # float64: a float32 count of pixels stops at 2^24. Class by class: K copies would not fit.
    of_class = torch.stack(
        [
            torch.where(target == index, weights, 0).sum(dtype=torch.float64)
            for index in range(is_class.shape[1])
        ]
    )
    total = of_class.sum()
    others = total - of_class
    # A divisor of 0 belongs to a group without pixels, whose factor no weight ever meets.
    positive = torch.where(of_class > 0, total / of_class, 0).to(weights.dtype)
    negative = torch.where(others > 0, total / others, 0).to(weights.dtype)
    shape = (1, -1, 1, 1)
    return torch.where(is_class, positive.view(shape), -negative.view(shape))
