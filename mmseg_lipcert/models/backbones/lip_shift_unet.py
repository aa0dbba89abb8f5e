from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..layers import LayerFactory, RolledStage


@MODELS.register_module()
class LipShiftUNet(BaseModule):
    """U-Net of pointwise 1-Lipschitz blocks with rolled channel groups: cheap, deep, far-seeing.

    Every change of resolution is an orthogonal strided (or transposed) convolution, half of the
    channels take the skip connection and the other half go down (as in :class:`LipUNet`), and all
    depth is in :class:`RolledStage`. The joint norm is at most 1.
    Sources: Ronneberger et al., "U-Net", 2015; the blocks' sources in :class:`RolledStage` and
    :class:`SLLBlock`.

    Args:
        size: Row of :attr:`SIZES`: ``'S'``, ``'M'``, ``'L'``. Defaults to ``'M'``.
        in_channels: Channels of the image. Defaults to 3.
        layers_cfg: Keyword arguments of :class:`LayerFactory`, for the convolutions that change the
            resolution.
        init_cfg: MMEngine's initialization config.

    Raises:
        ValueError: If the size is not in the table.
    """

    #: stem stride, width of each level, blocks before and after the skip, blocks at the bottom.
    SIZES: dict[str, dict[str, Any]] = {
        "S": dict(stem=4, widths=(64, 128), encoder=(1,), decoder=(3,), bottom=6),
        "M": dict(stem=4, widths=(64, 128, 256), encoder=(1, 2), decoder=(1, 3), bottom=6),
        "L": dict(stem=4, widths=(64, 160, 320), encoder=(1, 3), decoder=(2, 5), bottom=10),
    }

    def __init__(
        self,
        size: str = "M",
        in_channels: int = 3,
        layers_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if size not in self.SIZES:
            raise ValueError(f"size must be one of {', '.join(self.SIZES)}, got {size!r}")
        stem, widths, encoder, decoder, bottom = self.SIZES[size].values()
        make = LayerFactory.from_cfg(dict(norm_cfg=None, act_cfg=None) | (layers_cfg or {}))
        self.out_channels = (widths[0],)
        self.total_stride = stem * 2 ** (len(widths) - 1)
        self.stem = make.down(in_channels, widths[0], stem)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        self.ups, self.decoders = nn.ModuleList(), nn.ModuleList()
        for level, (width, below) in enumerate(pairwise(widths)):
            self.encoders.append(RolledStage(width, encoder[level]))
            self.downs.append(make.down(width // 2, below, 2))
            self.ups.append(make.up(below, width // 2, 2))
            self.decoders.append(RolledStage(width, decoder[level]))
        self.bottom = RolledStage(widths[-1], bottom, dilations=(1, 2))

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Map ``x``, shape (N, 3, H, W), H and W multiples of ``total_stride``, to one feature map.

        The feature map has shape (N, widths[0], H / stem, W / stem).
        """
        x = self.stem(x)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            skipped, x = encoder(x).chunk(2, dim=1)
            skips.append(skipped)
            x = down(x)
        x = self.bottom(x)
        for up, decoder in zip(reversed(self.ups), reversed(self.decoders), strict=True):
            x = decoder(torch.cat((skips.pop(), up(x)), dim=1))
        return (x,)
