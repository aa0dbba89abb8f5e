"""The two stages of draws: votes select a class per pixel, hits test it."""

from __future__ import annotations

import torch
from torch import Tensor

from .class_hierarchy import ClassHierarchy


class ClassVotes:
    """First stage: how often each class was predicted at each pixel.

    Args:
        num_classes: Number of classes K.
        size: Height and width.
        draws: Number of draws to come; decides the type of the counts.
        device: Where the counts are kept. Defaults to ``"cpu"``.
    """

    def __init__(
        self,
        num_classes: int,
        size: tuple[int, int],
        draws: int,
        device: torch.device | str = "cpu",
    ) -> None:
        dtype = torch.uint8 if draws < 256 else torch.int32
        self.counts = torch.zeros(num_classes, *size, dtype=dtype, device=device)

    def add(self, labels: Tensor) -> None:
        """Count one label map (H, W) of classes 0..K-1.

        Raises:
            ValueError: If a label is no class.
        """
        labels = labels.to(self.counts.device, torch.int64)[None]
        if labels.min() < 0 or labels.max() >= len(self.counts):
            raise ValueError(
                f"the segmentor predicts labels {int(labels.min())}..{int(labels.max())}; "
                f"classes are 0..{len(self.counts) - 1}"
            )
        one = torch.ones((), dtype=self.counts.dtype, device=self.counts.device)
        self.counts.scatter_add_(0, labels, one.expand(labels.shape))

    def leaders(self) -> Tensor:
        """The class (H, W) with the most votes; among equals the first."""
        return self.counts.argmax(0)


class HitCounter:
    """Second stage: how often the prediction of each pixel was what the first stage chose.

    Memory is that of one map, whatever the number of draws and classes.

    Args:
        selected: Chosen class (H, W) or, with a hierarchy, chosen vertex.
        hierarchy: A class below a chosen vertex is a hit. Defaults to None: only the chosen class
            itself is.
    """

    def __init__(self, selected: Tensor, hierarchy: ClassHierarchy | None = None) -> None:
        self.selected = selected
        self.hierarchy = hierarchy
        self.hits = torch.zeros(selected.shape, dtype=torch.int32, device=selected.device)

    def add(self, labels: Tensor) -> None:
        """Count one label map (H, W)."""
        labels = labels.to(self.selected.device)
        if self.hierarchy is None:
            self.hits += labels == self.selected
        else:
            self.hits += self.hierarchy.contains(self.selected, labels)
