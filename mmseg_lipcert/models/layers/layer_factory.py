from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from mmcv.cnn import ConvModule
from torch import nn


@dataclass(frozen=True)
class LayerFactory:
    """Builds the convolution blocks of a network from MMCV's layer configs.

    The defaults carry the scope, so that networks can be built outside of a runner too.

    Attributes:
        conv_cfg: Convolution. Defaults to :class:`AOCConv2d`.
        norm_cfg: Normalization. Defaults to :class:`BatchCentering2d`.
        act_cfg: Activation. Defaults to :class:`MaxMin`.
        upsample_cfg: Transposed convolution. Defaults to :class:`AOCConvTranspose2d`.
        order: Order within a block. Defaults to ('conv', 'norm', 'act').
        padding_mode: Padding of convolutions that keep the size. Defaults to 'zeros'.
    """

    #: Settings of the published 1-Lipschitz DeepLabV3.
    LIP_NET: ClassVar[dict] = dict(order=("conv", "act", "norm"), padding_mode="circular")

    conv_cfg: dict | None = field(default_factory=lambda: dict(type="mmseg.AOCConv2d"))
    norm_cfg: dict | None = field(default_factory=lambda: dict(type="mmseg.BatchCentering2d"))
    act_cfg: dict | None = field(default_factory=lambda: dict(type="mmseg.MaxMin"))
    upsample_cfg: dict = field(default_factory=lambda: dict(type="mmseg.AOCConvTranspose2d"))
    order: tuple[str, str, str] = ("conv", "norm", "act")
    padding_mode: str = "zeros"

    @classmethod
    def from_cfg(cls, layers_cfg: dict | None) -> LayerFactory:
        """Build the factory from the ``layers_cfg`` of a model config; None gives the defaults."""
        return cls(**(layers_cfg or {}))

    def conv(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        dilation: int = 1,
        stride: int = 1,
    ) -> ConvModule:
        """Convolution, norm and activation; at stride 1 they keep the size of the map."""
        # ConvModule's own padding_mode never reaches the convolution if it is 'circular'.
        conv_cfg = dict(self.conv_cfg or dict(type="Conv2d"), padding_mode=self.padding_mode)
        return ConvModule(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            conv_cfg=conv_cfg,
            norm_cfg=self.norm_cfg,
            act_cfg=self.act_cfg,
            order=tuple(self.order),
        )

    def down(self, in_channels: int, out_channels: int, factor: int) -> ConvModule:
        """Non-overlapping strided convolution that divides the size of the map by ``factor``."""
        return ConvModule(
            in_channels,
            out_channels,
            factor,
            stride=factor,
            conv_cfg=self.conv_cfg,
            norm_cfg=self.norm_cfg,
            act_cfg=self.act_cfg,
            order=tuple(self.order),
        )

    def up(self, in_channels: int, out_channels: int, factor: int) -> ConvModule:
        """Transposed convolution that multiplies the size of the map by ``factor``."""
        return ConvModule(
            in_channels,
            out_channels,
            factor,
            stride=factor,
            conv_cfg=self.upsample_cfg,
            norm_cfg=self.norm_cfg,
            act_cfg=self.act_cfg,
            order=tuple(self.order),
        )

    def linear(
        self, in_channels: int, out_channels: int, kernel_size: int = 1, dilation: int = 1
    ) -> ConvModule:
        """Convolution with a bias, without norm or activation: a classifier or projection."""
        return replace(self, norm_cfg=None, act_cfg=None).conv(
            in_channels, out_channels, kernel_size, dilation
        )

    def stage(self, channels: int, depth: int, dilation: int = 1) -> nn.Sequential:
        """``depth`` convolutions of constant width."""
        return nn.Sequential(*[self.conv(channels, channels, 3, dilation) for _ in range(depth)])
