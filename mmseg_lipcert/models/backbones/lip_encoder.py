from __future__ import annotations

from math import prod

from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..layers import LayerFactory


@MODELS.register_module()
class LipEncoder(BaseModule):
    """Strided orthogonal encoder: every layer is orthogonal, so the whole map is 1-Lipschitz.

    A strided orthogonal stem divides the size by ``stem_stride``; each stage then changes width
    and size with one strided convolution and applies ``depth`` convolutions, dilated in the last
    stages so that they see far at a constant stride.
    Sources: the encoder of Massena et al., "Fast and Flexible Robustness Certificates for Semantic
    Segmentation"; dilation as in Chen et al., "Rethinking Atrous Convolution", 2017.

    Args:
        size: Row of :attr:`SIZES`, ``'S'``, ``'M'`` or ``'L'``. Defaults to ``'M'``.
        in_channels: Channels of the image. Defaults to 3.
        layers_cfg: Keyword arguments of :class:`LayerFactory`.
        init_cfg: MMEngine's initialization config.

    Raises:
        ValueError: If the size is not in the table.
    """

    #: stem stride, then per stage: width, depth, stride and dilation.
    SIZES = {
        "S": dict(stem=4, widths=(32, 64), depths=(1, 3), strides=(1, 2), dilations=(1, 2)),
        "M": dict(
            stem=2, widths=(32, 64, 128), depths=(1, 2, 4), strides=(1, 2, 2), dilations=(1, 1, 2)
        ),
        "L": dict(
            stem=2, widths=(64, 128, 256), depths=(2, 3, 6), strides=(1, 2, 2), dilations=(1, 1, 2)
        ),
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
        table = self.SIZES[size]
        make = LayerFactory.from_cfg(layers_cfg)
        self.out_channels = table["widths"]
        self.total_stride = table["stem"] * prod(table["strides"])
        self.stem = make.down(in_channels, table["widths"][0], table["stem"])
        self.stages = nn.ModuleList()
        previous = table["widths"][0]
        for width, depth, stride, dilation in zip(
            table["widths"], table["depths"], table["strides"], table["dilations"], strict=True
        ):
            layers = make.stage(width, depth, dilation)
            if stride > 1 or width != previous:
                layers.insert(0, make.down(previous, width, stride))
            self.stages.append(layers)
            previous = width

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Encode ``x``, shape (N, 3, H, W) with H, W multiples of ``total_stride``.

        Returns one feature map per stage. Only one of them may feed the decode head, or their
        energies add up (the audit accounts for it).
        """
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return tuple(features)
