"""How far every pixel is from being wrong."""

from __future__ import annotations

import torch
from torch import Tensor


def label_margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Logit of the label minus the largest other logit: positive where the prediction is right.

    Args:
        logits: (N, K, H, W).
        labels: (N, H, W), inside [0, K).

    Returns:
        (N, H, W).
    """
    index = labels.unsqueeze(1)
    own = logits.gather(1, index).squeeze(1)
    return own - logits.scatter(1, index, -torch.inf).amax(1)
