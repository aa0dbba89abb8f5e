"""Cosine between logits and one-hot labels, per pixel or per image."""

from collections.abc import Sequence

from mmseg.registry import MODELS
from torch import Tensor

from .pixel_loss import PixelLoss

__all__ = ["CosineSimilarityLoss"]

_MODES = ("pixel", "image")
# Below this norm logits have no direction to speak of; it also bounds the gradient, by 1 / _EPS.
_EPS = 1e-4


@MODELS.register_module()
class CosineSimilarityLoss(PixelLoss):
    r"""One minus the cosine between the logits and the one-hot labels.

    With logits :math:`z_p` and label :math:`y_p` of pixel :math:`p`, and pixel weights
    :math:`w_p` (0 for ignored pixels), the terms are

    ```math
    \text{pixel: } 1 - \frac{z_{p,y_p}}{\|z_p\|_2}
    \qquad
    \text{image: } 1 - \frac{\sum_p w_p z_{p,y_p}}
        {\sqrt{\sum_p w_p \|z_p\|_2^2}\,\sqrt{\sum_p w_p}}
    ```

    The pixel form has no scale: it asks for the right direction everywhere, and averages over the
    pixels. The image form is the cosine of the whole (K, H, W) tensors in the inner product
    weighted by :math:`w`. Its scale is shared by the pixels of an image: a pixel whose logits
    grow lends the others less, as pixels share one l2 budget in a joint certificate. It averages
    over the images that have a valid pixel. The logits are not centered: a common offset of a
    pixel's logits costs similarity. Norms below 1e-4 count as 1e-4.

    Source: the pixel form is the cosine loss of the orthogonium library; the image form is its
    extension to one joint vector per image.

    Args:
        mode: "pixel" or "image". Defaults to "pixel".
        class_weight: See :class:`PixelLoss`; in image mode part of :math:`w`. Defaults to None.
        loss_weight: Factor of the returned loss. Defaults to 1.0.
        reduction: "mean", "sum" or "none", over pixels or images. Defaults to "mean".
        loss_name: Key in the dict of losses. Defaults to "loss_cosine".

    Raises:
        ValueError: If ``mode`` is unknown.

    Examples:
        >>> import torch
        >>> labels = torch.tensor([[[0, 1], [1, 0]]])
        >>> one_hot = torch.nn.functional.one_hot(labels).permute(0, 3, 1, 2).float()
        >>> CosineSimilarityLoss(mode="image")(0.1 * one_hot, labels).abs().item() < 1e-6
        True
    """

    def __init__(
        self,
        mode: str = "pixel",
        class_weight: Sequence[float] | str | None = None,
        loss_weight: float = 1.0,
        reduction: str = "mean",
        loss_name: str = "loss_cosine",
    ) -> None:
        super().__init__(class_weight, loss_weight, reduction, loss_name)
        if mode not in _MODES:
            raise ValueError(f"mode must be one of {_MODES}, got {mode!r}")
        self.mode = mode

    def terms(self, logits: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Compute one term per pixel (N, H, W) or per image (N,); see :meth:`PixelLoss.terms`."""
        true_logits = logits.gather(1, target.unsqueeze(1)).squeeze(1)
        squared_norms = logits.square().sum(dim=1)
        if self.mode == "pixel":
            return 1 - true_logits / _norm(squared_norms), weights
        image_weights = weights.sum(dim=(1, 2))
        products = (weights * true_logits).sum(dim=(1, 2))
        norms = _norm((weights * squared_norms).sum(dim=(1, 2))) * _norm(image_weights)
        return 1 - products / norms, (image_weights > 0).to(logits.dtype)

    def extra_repr(self) -> str:
        """Describe the mode in the printed model."""
        return f"mode={self.mode}"


def _norm(squares: Tensor) -> Tensor:
    # Clamped before the root, whose gradient at 0 is infinite.
    return squares.clamp_min(_EPS**2).sqrt()
