from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...certificates.smoothing import spawn_generators
from .padding import pad_to
from .resolution_strategy import Denoise, ResolutionStrategy
from .tiling import blending_window, tile_starts


class TileStrategy(ResolutionStrategy):
    """Overlapping tiles at native resolution, blended smoothly: what the denoiser was trained for.

    Args:
        size: Height and width of a tile, those of the training images.
        overlap: Pixels that neighbors share, at least; no more than half a tile. Defaults to 32.
        max_batch: Tiles per forward pass; tiles of all images share them. Defaults to 8.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, size: tuple[int, int], overlap: int = 32, max_batch: int = 8) -> None:
        if overlap < 0 or max_batch < 1:
            raise ValueError(
                f"overlap must be at least 0 and max_batch at least 1, got {overlap}, {max_batch}"
            )
        self.size = size
        self.overlap = min(overlap, min(size) // 2)
        self.max_batch = max_batch

    def __call__(
        self,
        denoise: Denoise,
        images: Tensor,
        sigma: float,
        generators: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Denoise images (B, 3, H, W) of any size."""
        height, width = images.shape[2:]
        tall, wide = self.size
        padded = pad_to(images, tall, wide)
        corners = [
            (top, left)
            for top in tile_starts(padded.shape[2], tall, self.overlap)
            for left in tile_starts(padded.shape[3], wide, self.overlap)
        ]
        places = [(number, *corner) for number in range(len(images)) for corner in corners]
        # A generator for each tile: what it draws depends on its image, not on its batch.
        children = generators and [
            child for parent in generators for child in spawn_generators(parent, len(corners))
        ]
        window = blending_window(self.size, self.overlap, images.device)
        total = torch.zeros_like(padded)
        weight = torch.zeros_like(padded[:, :1])
        for start in range(0, len(places), self.max_batch):
            chosen = slice(start, start + self.max_batch)
            batch = places[chosen]
            tiles = torch.stack([padded[n, :, y : y + tall, x : x + wide] for n, y, x in batch])
            clean = denoise(tiles, sigma, children and children[chosen])
            for (n, y, x), tile in zip(batch, clean, strict=True):
                total[n, :, y : y + tall, x : x + wide] += tile * window
                weight[n, :, y : y + tall, x : x + wide] += window
        return (total / weight)[:, :, :height, :width]
