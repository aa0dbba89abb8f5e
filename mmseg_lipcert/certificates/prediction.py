"""What is known of every pixel after one pass over the logits."""

from typing import NamedTuple

from torch import Tensor


class Prediction(NamedTuple):
    """Labels and margins of N pixels.

    Attributes:
        label: ``(N,)`` predicted classes, uint8 (int32 above 255 classes).
        flip: ``(N,)`` float64 l2 costs of changing them.
        first: ``(N,)`` largest logit.
        second: ``(N,)`` second largest logit (the only one of a binary head).
    """

    label: Tensor
    flip: Tensor
    first: Tensor
    second: Tensor
