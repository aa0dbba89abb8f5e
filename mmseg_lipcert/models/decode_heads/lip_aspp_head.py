from __future__ import annotations

from math import sqrt

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..layers import LayerFactory
from .lip_decode_head import LipDecodeHead


@MODELS.register_module()
class LipASPPHead(LipDecodeHead):
    r"""1-Lipschitz atrous spatial pyramid pooling: the head of DeepLabV3.

    The n branches see the same features, so a perturbation arrives n times: the concatenation is
    divided by :math:`\sqrt n`. The image branch replaces each channel by its mean over the map, an
    orthogonal projection (mean and broadcast have norms that cancel).
    Sources: Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017;
    the scaling as in Massena et al., "Fast and Flexible Robustness Certificates for Semantic
    Segmentation".

    Args:
        in_channels: Channels of the feature map.
        channels: Channels of each branch and of the projection.
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
        super().__init__(in_channels, channels, layers_cfg=layers_cfg, **kwargs)
        make = LayerFactory.from_cfg(layers_cfg)
        self.branches = nn.ModuleList([make.conv(in_channels, channels, 1)])
        self.branches.extend(make.conv(in_channels, channels, 3, d) for d in dilations)
        self.image_branch = make.conv(in_channels, channels, 1)
        self.project = make.conv((len(dilations) + 2) * channels, channels, 1)

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Map the backbone's features to logits (N, K, H, W)."""
        x = self._transform_inputs(inputs)
        image = self.image_branch(x.mean(dim=(2, 3), keepdim=True))
        parts = [branch(x) for branch in self.branches] + [image.expand(-1, -1, *x.shape[2:])]
        return self.upsample_and_classify(self.project(torch.cat(parts, dim=1) / sqrt(len(parts))))
