from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

#: The categories of Cityscapes, over its 19 classes.
CITYSCAPES = dict(
    num_classes=19,
    levels=[
        {
            "flat": [0, 1],
            "construction": [2, 3, 4],
            "object": [5, 6, 7],
            "nature": [8, 9],
            "sky": [10],
            "human": [11, 12],
            "vehicle": [13, 14, 15, 16, 17, 18],
        }
    ],
)

#: The hierarchy of the published method: ever coarser obstacles, beside road and sky.
CITYSCAPES_OBSTACLES = dict(
    num_classes=19,
    levels=[
        {
            "road": [0],
            "sidewalk": [1],
            "construction and vegetation": [2, 3, 4, 5, 8],
            "traffic sign": [6, 7],
            "terrain": [9],
            "sky": [10],
            "human": [11, 12],
            "vehicle": [13, 14, 15, 16, 17, 18],
        },
        {
            "road": [0],
            "flat obstacle": [1, 9],
            "static obstacle": [2, 3, 4, 5, 6, 7, 8],
            "sky": [10],
            "dynamic obstacle": [11, 12, 13, 14, 15, 16, 17, 18],
        },
        {"road": [0], "obstacle": [*range(1, 10), *range(11, 19)], "sky": [10]},
    ],
)

#: Hierarchies that configs and the command line know by name.
HIERARCHIES = {"cityscapes": CITYSCAPES, "cityscapes-obstacles": CITYSCAPES_OBSTACLES}


class ClassHierarchy:
    """Classes, and coarser groups of them to fall back to where the classes are uncertain.

    Vertices are numbered: the K classes, then the groups of each level, finest level first, and the
    root, ``abstain``, which stands for every class and says nothing.
    Source: Anani et al., "Adaptive Hierarchical Certification for Segmentation using Randomized
    Smoothing", 2024. Here a pixel takes the finest level at which one vertex has a given share of
    the first stage's votes.

    Args:
        num_classes: Number of classes K.
        levels: Groups of classes by name, finest level first. Every level must hold every class
            once, and whole groups of the level below.
        share: Share of the votes that a vertex needs, in [0, 1]. 0 always selects the class with
            the most votes, as without hierarchy. Defaults to 0.8.

    Raises:
        ValueError: If a level is no partition, splits a group or has an empty one, or the share is
            out of range.
    """

    def __init__(
        self, num_classes: int, levels: Sequence[Mapping[str, Sequence[int]]], share: float = 0.8
    ) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share must be in [0, 1], got {share}")
        self.num_classes = num_classes
        self.share = share
        #: Classes of each group by name, finest level first, in the order of their vertices.
        self.levels = [{name: list(group) for name, group in level.items()} for level in levels]
        #: Names of the groups, in the order of their vertices.
        self.groups: list[str] = []
        members = [{c} for c in range(num_classes)]
        # Vertex of every class at every level.
        self.vertex_of = [list(range(num_classes))]
        for number, level in enumerate(levels):
            if sorted(c for group in level.values() for c in group) != list(range(num_classes)):
                raise ValueError(
                    f"level {number} must hold each of {num_classes} classes once: {dict(level)}"
                )
            below = self.vertex_of[-1]
            vertices = [0] * num_classes
            for name, group in level.items():
                if not group:
                    raise ValueError(f"group {name} of level {number} has no class")
                for c in group:
                    vertices[c] = len(members)
                if not all(members[below[c]] <= set(group) for c in group):
                    raise ValueError(f"level {number} splits a group of the level below: {name}")
                members.append(set(group))
                self.groups.append(name)
            self.vertex_of.append(vertices)
        self.abstain = len(members)
        members.append(set(range(num_classes)))
        #: Which classes (columns) are below which vertices (rows).
        self.below = torch.zeros(len(members), num_classes, dtype=torch.bool)
        for vertex, classes in enumerate(members):
            self.below[vertex, sorted(classes)] = True

    def __len__(self) -> int:
        """Number of vertices, the root included."""
        return len(self.below)

    def select(self, counts: Tensor) -> Tensor:
        """Choose a vertex for every pixel from the votes of the first stage.

        Args:
            counts: Votes (K, H, W).

        Returns:
            Vertices (H, W), int64.
        """
        votes = counts.long().sum(0)
        chosen = torch.full_like(votes, self.abstain)
        for vertices in reversed(self.vertex_of):
            index = torch.tensor(vertices, device=counts.device)
            first = int(index.min())
            sums = torch.zeros(
                int(index.max()) - first + 1,
                *counts.shape[1:],
                dtype=torch.int64,
                device=counts.device,
            )
            sums.index_add_(0, index - first, counts.long())
            best, winner = sums.max(0)
            chosen = torch.where(best >= self.share * votes, winner + first, chosen)
        return chosen

    def contains(self, vertices: Tensor, labels: Tensor) -> Tensor:
        """Whether labels (H, W) are below vertices (H, W); labels that are no class never are."""
        known = (labels >= 0) & (labels < self.num_classes)
        place = vertices * self.num_classes + labels.masked_fill(~known, 0)
        return self.below.to(vertices.device).view(-1)[place] & known

    def information(self) -> Tensor:
        """``1 - log(leaves) / log(K)`` of every vertex: 1 for a class, 0 for the root."""
        leaves = self.below.sum(1).double()
        return 1 - leaves.log() / math.log(self.num_classes)
