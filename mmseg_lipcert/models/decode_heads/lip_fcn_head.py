from __future__ import annotations

from mmseg.registry import MODELS
from torch import Tensor, nn

from ..layers import LayerFactory
from .lip_decode_head import LipDecodeHead


@MODELS.register_module()
class LipFCNHead(LipDecodeHead):
    """1-Lipschitz counterpart of MMSegmentation's ``FCNHead``.

    Source: Long et al., "Fully Convolutional Networks for Semantic Segmentation", 2015.

    Args:
        in_channels: Channels of the feature map.
        channels: Width of the head's convolutions; without convolutions, ``in_channels``.
        num_convs: Convolutions in front of the up-sampling. Defaults to 1.
        layers_cfg: Keyword arguments of :class:`LayerFactory`.
        **kwargs: Arguments of :class:`LipDecodeHead`.

    Raises:
        ValueError: If there is no convolution to change the number of channels.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        num_convs: int = 1,
        layers_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        if num_convs == 0 and channels != in_channels:
            raise ValueError(
                f"num_convs=0 keeps the {in_channels} channels, but channels={channels}"
            )
        super().__init__(in_channels, channels, layers_cfg=layers_cfg, **kwargs)
        make = LayerFactory.from_cfg(layers_cfg)
        widths = [in_channels] + [channels] * num_convs
        self.convs = nn.Sequential(
            *[make.conv(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)]
        )

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Map the backbone's features to logits (N, K, H, W)."""
        return self.upsample_and_classify(self.convs(self._transform_inputs(inputs)))
