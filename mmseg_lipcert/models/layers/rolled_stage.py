from __future__ import annotations

import torch
from torch import Tensor, nn

from .sll_block import SLLBlock

#: Row and column offset of each channel group: half of the groups stay, the others move one step.
OFFSETS = ((0, 0), (1, 0), (0, 0), (0, 1), (0, 0), (-1, 0), (0, 0), (0, -1))


class RolledStage(nn.Module):
    """Pointwise blocks that see their neighbors because channel groups are rolled between them.

    A roll moves pixels around the map's border and is a permutation, so it costs a copy instead of
    a spatial convolution and changes no norm. Block k works in a frame in which channel group g is
    rolled by ``OFFSETS[(g + k) % 8]`` times the dilation; behind the last block every group is
    rolled back, so that the skip path of the stage is the identity.

    Source: spatial shifts between orthogonal pointwise layers as in LipNeXt (ICLR 2026); shifts as
    a substitute of convolutions: Wu et al., "Shift: A Zero FLOP, Zero Parameter Alternative to
    Spatial Convolutions", CVPR 2018.

    Args:
        channels: Channels of the map, a multiple of 8.
        depth: Number of blocks.
        dilations: Step of the rolls, block by block, repeated. Defaults to (1,).
        hidden: Width inside of the blocks. Defaults to None: ``channels``.

    Raises:
        ValueError: If the channels cannot be split into 8 groups.
    """

    def __init__(
        self,
        channels: int,
        depth: int,
        dilations: tuple[int, ...] = (1,),
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        if channels % len(OFFSETS):
            raise ValueError(f"channels must be a multiple of {len(OFFSETS)}, got {channels}")
        self.blocks = nn.ModuleList(SLLBlock(channels, hidden) for _ in range(depth))
        self.frames = [
            [
                (
                    step * OFFSETS[(group + k) % len(OFFSETS)][0],
                    step * OFFSETS[(group + k) % len(OFFSETS)][1],
                )
                for group in range(len(OFFSETS))
            ]
            for k, step in ((k, dilations[k % len(dilations)]) for k in range(depth))
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x``, shape (N, channels, H, W)."""
        rest = [(0, 0)] * len(OFFSETS)
        frame = rest
        for block, following in zip(self.blocks, self.frames, strict=True):
            x = block(_change_frame(x, frame, following))
            frame = following
        return _change_frame(x, frame, rest)


def _change_frame(x: Tensor, old: list[tuple[int, int]], new: list[tuple[int, int]]) -> Tensor:
    groups = x.split(x.shape[1] // len(OFFSETS), dim=1)
    return torch.cat(
        [
            group if a == b else torch.roll(group, (b[0] - a[0], b[1] - a[1]), (2, 3))
            for group, a, b in zip(groups, old, new, strict=True)
        ],
        dim=1,
    )
