from __future__ import annotations

import torch
from torch import Tensor

from .label_margins import label_margins
from .quota_objective import QuotaObjective


class VanishingObjective(QuotaObjective):
    """Erase a share of a region: its pixels are no longer predicted as what they are labeled.

    Args:
        regions: Boolean masks (N, H, W), one region per image.
        labels: The class of the regions, or the labels (N, H, W) of their pixels.
        share: Share of the pixels in (0, 1] whose loss counts as vanishing, as in
            ``certificates.vanishing_regions``. Defaults to 1.

    Raises:
        ValueError: If the share is not in (0, 1].
    """

    def __init__(self, regions: Tensor, labels: int | Tensor, share: float = 1.0) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share must be in (0, 1], got {share}")
        area = regions.flatten(1).sum(1)
        super().__init__(regions, torch.ceil(share * area.double() - 1e-9).long())
        if not isinstance(labels, Tensor):
            labels = torch.full(regions.shape, labels, device=regions.device)
        self.labels = labels

    def lacking(self, logits: Tensor) -> Tensor:
        """Margins of the labels."""
        return label_margins(logits, self.labels)

    def changed(self, logits: Tensor) -> Tensor:
        """Where another class is predicted."""
        return logits.argmax(1) != self.labels
