from __future__ import annotations

from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..layers import LayerFactory


@MODELS.register_module()
class LipNetEncoder(BaseModule):
    """Encoder of the published 1-Lipschitz DeepLabV3, layer by layer.

    Each stage halves the map with an overlapping 3x3 convolution of stride 2 and applies 3x3
    convolutions of the same width, all with circular padding. Centering stands behind the
    activation. :class:`LipEncoder` is the cheaper design: patches instead of overlapping strides,
    dilation instead of more stages.
    Source: Massena et al., "Fast and Flexible Robustness Certificates for Semantic Segmentation".

    Args:
        size: Row of :attr:`SIZES`, ``'S'``, ``'M1'``, ``'M2'``, ``'L'`` or ``'XL'``. Defaults to
            ``'M1'``.
        in_channels: Channels of the image. Defaults to 3.
        layers_cfg: Keyword arguments of :class:`LayerFactory`.
        init_cfg: MMEngine's initialization config.

    Raises:
        ValueError: If the size is not in the table.
    """

    #: width of each stage, and convolutions per stage.
    SIZES = {
        "S": ((32, 64, 128), 3),
        "M1": ((64, 128, 256), 5),
        "M2": ((64, 128, 256, 512), 5),
        "L": ((64, 128, 256, 512), 7),
        "XL": ((128, 256, 512, 1024, 2048), 5),
    }

    def __init__(
        self,
        size: str = "M1",
        in_channels: int = 3,
        layers_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if size not in self.SIZES:
            raise ValueError(f"size must be one of {', '.join(self.SIZES)}, got {size!r}")
        widths, depth = self.SIZES[size]
        make = LayerFactory.from_cfg(LayerFactory.LIP_NET | (layers_cfg or {}))
        self.out_channels = widths[-1]
        self.total_stride = 2 ** len(widths)
        self.layers = nn.Sequential()
        previous = in_channels
        for width in widths:
            self.layers.append(make.conv(previous, width, stride=2))
            self.layers.extend(make.stage(width, depth - 1))
            previous = width

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Encode ``x``, shape (N, 3, H, W) with H, W multiples of ``total_stride``."""
        return (self.layers(x),)
