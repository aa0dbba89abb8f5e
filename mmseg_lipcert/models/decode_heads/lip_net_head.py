from __future__ import annotations

from dataclasses import replace
from math import sqrt

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..layers import LayerFactory
from .lip_decode_head import LipDecodeHead


@MODELS.register_module()
class LipNetHead(LipDecodeHead):
    r"""Decode head of the published 1-Lipschitz DeepLabV3, layer by layer.

    Four linear branches (1x1, and 3x3 at three dilations) are concatenated, divided by
    :math:`\sqrt 4` and projected; a 3x3 convolution refines the result before it is up-sampled.
    :class:`LipASPPHead` has nonlinear branches and an image branch, and no refinement.
    Source: Massena et al., "Fast and Flexible Robustness Certificates for Semantic Segmentation".

    Args:
        in_channels: Channels of the feature map.
        channels: Channels of each branch, of the projection and of the refinement.
        dilations: Dilation of each 3x3 branch. Defaults to (6, 12, 18).
        layers_cfg: Keyword arguments of :class:`LayerFactory`.
        **kwargs: Arguments of :class:`LipDecodeHead`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        dilations: tuple[int, ...] = (6, 12, 18),
        layers_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        layers_cfg = LayerFactory.LIP_NET | (layers_cfg or {})
        super().__init__(in_channels, channels, layers_cfg=layers_cfg, **kwargs)
        make = LayerFactory.from_cfg(layers_cfg)
        # A dilation may exceed the map, and circular padding cannot wrap around twice.
        zeros = replace(make, padding_mode="zeros")
        self.branches = nn.ModuleList([zeros.linear(in_channels, channels)])
        self.branches.extend(zeros.linear(in_channels, channels, 3, d) for d in dilations)
        self.project = make.conv(len(self.branches) * channels, channels, 1)
        self.refine = replace(make, norm_cfg=None).conv(channels, channels)

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Map the backbone's features to logits (N, K, H, W)."""
        x = self._transform_inputs(inputs)
        parts = torch.cat([branch(x) for branch in self.branches], dim=1)
        x = self.project(parts / sqrt(len(self.branches)))
        return self.upsample_and_classify(self.refine(x))
