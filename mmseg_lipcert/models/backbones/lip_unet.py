from __future__ import annotations

from math import sqrt

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..layers import LayerFactory


@MODELS.register_module()
class LipUNet(BaseModule):
    r"""U-Net of orthogonal layers whose skip connections keep the joint norm at 1.

    Two ways to skip:

    - ``'split'``: half of the channels take the skip connection, the other half go down. The
      parts are disjoint, so no energy is counted twice and every level is an isometry.
    - ``'concat'``: all channels take both ways, and the concatenation is divided by
      :math:`\sqrt 2`, because the same perturbation arrives twice.

    Sources: Ronneberger et al., "U-Net", 2015; the 1-Lipschitz U-Net of Massena et al., "Fast and
    Flexible Robustness Certificates for Semantic Segmentation".

    Args:
        size: Row of :attr:`SIZES`: ``'XS'``, ``'S'``, ``'M'``, ``'L'``. Defaults to ``'M'``.
        skip: ``'split'`` or ``'concat'``. Defaults to ``'split'``.
        in_channels: Channels of the image. Defaults to 3.
        layers_cfg: Keyword arguments of :class:`LayerFactory`.
        init_cfg: MMEngine's initialization config.

    Raises:
        ValueError: If the size is not in the table or the skip is unknown.
    """

    #: stem stride, then the width of each level and the convolutions before and after the skip.
    SIZES = {
        "XS": dict(stem=4, widths=(32, 64, 64), depth=1),
        "S": dict(stem=4, widths=(32, 64, 128), depth=1),
        "M": dict(stem=4, widths=(64, 128, 256), depth=2),
        "L": dict(stem=2, widths=(64, 128, 256, 512), depth=2),
    }

    def __init__(
        self,
        size: str = "M",
        skip: str = "split",
        in_channels: int = 3,
        layers_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if size not in self.SIZES:
            raise ValueError(f"size must be one of {', '.join(self.SIZES)}, got {size!r}")
        if skip not in ("split", "concat"):
            raise ValueError(f"skip must be 'split' or 'concat', got {skip!r}")
        self.skip = skip
        stem, widths, depth = (self.SIZES[size][key] for key in ("stem", "widths", "depth"))
        make = LayerFactory.from_cfg(layers_cfg)
        self.out_channels = (widths[0],)
        self.total_stride = stem * 2 ** (len(widths) - 1)
        self.stem = make.down(in_channels, widths[0], stem)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        self.ups, self.decoders = nn.ModuleList(), nn.ModuleList()
        for width, below in zip(widths[:-1], widths[1:], strict=True):
            skipped = width // 2 if skip == "split" else width
            self.encoders.append(make.stage(width, depth))
            self.downs.append(make.down(skipped, below, 2))
            self.ups.append(make.up(below, width // 2, 2))
            merged = width // 2 + skipped
            decoder = make.stage(width, depth - 1)
            decoder.insert(0, make.conv(merged, width))
            self.decoders.append(decoder)
        self.bottom = make.stage(widths[-1], 2 * depth)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Map ``x``, shape (N, 3, H, W), H and W multiples of ``total_stride``, to one feature map.

        The feature map has shape (N, widths[0], H / stem, W / stem).
        """
        x = self.stem(x)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            if self.skip == "split":
                skipped, x = x.chunk(2, dim=1)
            else:
                skipped = x
            skips.append(skipped)
            x = down(x)
        x = self.bottom(x)
        for up, decoder in zip(reversed(self.ups), reversed(self.decoders), strict=True):
            x = torch.cat((skips.pop(), up(x)), dim=1)
            if self.skip == "concat":
                x = x / sqrt(2)
            x = decoder(x)
        return (x,)
