"""What the segmentation losses share: ignored pixels, class weights and reduction."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from mmseg.models.losses.utils import get_class_weight
from torch import Tensor, nn

__all__ = ["PixelLoss"]

_REDUCTIONS = ("none", "mean", "sum")


class PixelLoss(nn.Module, ABC):
    """Base of losses on logits and labels with ignored pixels and class weights.

    Each pixel gets the weight ``w = class_weight[label] * weight``, and 0 where it is ignored.
    ``reduction="mean"`` is ``sum(w * loss) / sum(w)``, as in PyTorch's cross entropy: multiplying
    all class weights by one number changes nothing. It is 0, with zero gradient, when no pixel
    counts. Logits of ignored pixels enter nothing, even if they are infinite or NaN.

    Half-precision logits are converted to float32 first.

    Args:
        class_weight: Weight of each class, or a file with them as mmseg's own losses read it.
            Defaults to None: all 1.
        loss_weight: Factor of the returned loss. Defaults to 1.0.
        reduction: "mean", "sum" (of ``w * loss``) or "none" (``w * loss``). Defaults to "mean".
        loss_name: Key in the dict of losses; only keys with the prefix ``loss_`` are trained on.
        avg_non_ignore: Whether the mean leaves ignored pixels out of its divisor. If False, each
            adds 1 to it. Defaults to True.

    Raises:
        ValueError: If a class weight is negative or not finite, or ``reduction`` is unknown.
    """

    def __init__(
        self,
        class_weight: Sequence[float] | str | None = None,
        loss_weight: float = 1.0,
        reduction: str = "mean",
        loss_name: str = "loss_pixel",
        avg_non_ignore: bool = True,
    ) -> None:
        super().__init__()
        _check_reduction(reduction)
        weights = get_class_weight(class_weight)
        if weights is not None:
            weights = torch.as_tensor(weights, dtype=torch.float32)
            if not (torch.isfinite(weights).all() and (weights >= 0).all()):
                raise ValueError(
                    f"class weights must be finite and not negative, got {weights.tolist()}"
                )
        # Not persistent: checkpoints keep the same keys whatever the loss.
        self.register_buffer("class_weight", weights, persistent=False)
        self.loss_weight = loss_weight
        self.reduction = reduction
        self.avg_non_ignore = avg_non_ignore
        self._loss_name = loss_name

    @property
    def loss_name(self) -> str:
        """Key of this loss in the dict that a decode head returns."""
        return self._loss_name

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Compute the loss.

        Args:
            cls_score: Logits of shape (N, K, H, W), K >= 2.
            label: Class indices of shape (N, H, W).
            weight: Weight of each pixel, shape (N, H, W), as pixel samplers give it.
                Defaults to None: all 1.
            ignore_index: Label of the pixels to leave out. Defaults to 255.
            reduction_override: Reduction of this call. Defaults to None: the one of the loss.

        Returns:
            A scalar, or one value per term (see the loss for its terms) without reduction.

        Raises:
            ValueError: If shapes do not fit together, if a label is neither a class nor
                ``ignore_index``, or if there are not K class weights.
        """
        reduction = self.reduction if reduction_override is None else reduction_override
        _check_reduction(reduction)
        self._check_shapes(cls_score, label, weight)
        classes = cls_score.shape[1]
        valid = label != ignore_index
        target = label.masked_fill(~valid, 0).long()
        if ((target < 0) | (target >= classes)).any():
            wrong = label[valid & ((label < 0) | (label >= classes))].unique().tolist()
            raise ValueError(
                f"labels {wrong} are neither classes 0..{classes - 1} nor the ignore index "
                f"{ignore_index}"
            )
        if cls_score.dtype in (torch.float16, torch.bfloat16):
            cls_score = cls_score.float()
        # Not a product with the mask: 0 * inf is NaN.
        logits = cls_score.masked_fill(~valid.unsqueeze(1), 0)
        pixel_weights = valid.to(logits.dtype)
        if self.class_weight is not None:
            pixel_weights = pixel_weights * self.class_weight.to(logits.dtype)[target]
        if weight is not None:
            pixel_weights = pixel_weights * weight.to(logits.dtype)
        losses, weights = self.terms(logits, target, pixel_weights)
        weighted = losses * weights
        if reduction == "mean":
            divisor = weights.sum()
            if not self.avg_non_ignore:
                divisor = divisor + (~valid).sum()
            # Where no pixel counts the sum is exactly 0, and any positive divisor gives 0.
            weighted = weighted.sum() / divisor.clamp_min(torch.finfo(divisor.dtype).tiny)
        elif reduction == "sum":
            weighted = weighted.sum()
        return self.loss_weight * weighted

    @abstractmethod
    def terms(self, logits: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the terms that are reduced to the loss.

        Args:
            logits: Shape (N, K, H, W); 0 at ignored pixels.
            target: Classes of shape (N, H, W), all within 0..K-1; 0 at ignored pixels.
            weights: Pixel weights of shape (N, H, W); 0 at ignored pixels.

        Returns:
            The terms and their weights, two tensors of one shape.
        """

    def _check_shapes(self, cls_score: Tensor, label: Tensor, weight: Tensor | None) -> None:
        if cls_score.dim() != 4 or cls_score.shape[1] < 2:
            raise ValueError(
                f"logits must have shape (N, K, H, W) with K >= 2, got {tuple(cls_score.shape)}"
            )
        expected = (cls_score.shape[0], *cls_score.shape[2:])
        if tuple(label.shape) != expected:
            raise ValueError(f"labels must have shape {expected}, got {tuple(label.shape)}")
        if weight is not None and tuple(weight.shape) != expected:
            raise ValueError(f"pixel weights must have shape {expected}, got {tuple(weight.shape)}")
        if self.class_weight is not None and self.class_weight.numel() != cls_score.shape[1]:
            raise ValueError(
                f"{cls_score.shape[1]} class weights are needed, one per class, "
                f"got {self.class_weight.numel()}"
            )


def _check_reduction(reduction: str) -> None:
    if reduction not in _REDUCTIONS:
        raise ValueError(f"reduction must be one of {_REDUCTIONS}, got {reduction!r}")
