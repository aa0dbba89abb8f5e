from __future__ import annotations

import torch
from torch import Tensor

from .label_margins import label_margins
from .quota_objective import QuotaObjective


class FabricationObjective(QuotaObjective):
    """Invent pixels of a class where there are none.

    Args:
        where: Boolean masks (N, H, W) of the pixels that count: a part of the image without
            ignored pixels and pixels of the class. With ``certificates.fabrication_radii`` it is to
            be without pixels that are predicted as the class; with ``invention_site`` it is the
            object to be invented, such pixels included.
        class_index: The class to be invented.
        pixels: Number of pixels of the class that are wanted there.

    Raises:
        ValueError: If the number of pixels is below 1.
    """

    def __init__(self, where: Tensor, class_index: int, pixels: int) -> None:
        if pixels < 1:
            raise ValueError(f"pixels must be at least 1, got {pixels}")
        super().__init__(where, torch.full((len(where),), pixels, device=where.device))
        self.labels = torch.full(where.shape, class_index, device=where.device)

    def lacking(self, logits: Tensor) -> Tensor:
        """What the class lacks to be the largest."""
        return -label_margins(logits, self.labels)

    def changed(self, logits: Tensor) -> Tensor:
        """Where the class is predicted."""
        return logits.argmax(1) == self.labels
