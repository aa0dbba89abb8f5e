from __future__ import annotations

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from ..layers import LayerFactory


class LipDecodeHead(BaseDecodeHead):
    """Base of the 1-Lipschitz heads: orthogonal up-sampling, then an orthogonal classifier.

    Bilinear up-sampling by s has norm s over the whole map, so the logits of a joint certificate
    may not pass through it. Here each up-sampling step is an orthogonal transposed convolution.

    Args:
        in_channels: Channels of the feature map.
        channels: Channels in front of the up-sampling.
        upsample_channels: Channels behind each up-sampling step; the last ones are the classifier's
            input. An empty tuple keeps the resolution of the feature map.
        upsample_factor: Factor of one step. Defaults to 2.
        free_classifier: Leave the last 1x1 layer unconstrained. The certificate then bounds the
            features in front of it and divides margins by the distances between the classifier's
            rows. Defaults to False: an orthogonal classifier.
        layers_cfg: Keyword arguments of :class:`LayerFactory`.
        **kwargs: Arguments of MMSegmentation's ``BaseDecodeHead``.

    Raises:
        ValueError: If dropout is asked for, or several feature maps are merged by resizing.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        upsample_channels: tuple[int, ...] = (),
        upsample_factor: int = 2,
        free_classifier: bool = False,
        layers_cfg: dict | None = None,
        dropout_ratio: float = 0,
        **kwargs,
    ) -> None:
        if dropout_ratio:
            raise ValueError(f"a 1-Lipschitz head has no dropout, got {dropout_ratio}")
        if kwargs.get("input_transform") is not None:
            raise ValueError("a 1-Lipschitz head reads one feature map: input_transform=None")
        super().__init__(in_channels, channels, dropout_ratio=0, init_cfg=None, **kwargs)
        make = LayerFactory.from_cfg(layers_cfg)
        self.upsample = nn.Sequential()
        for width in upsample_channels:
            self.upsample.append(make.up(channels, width, upsample_factor))
            channels = width
        self.free_classifier = free_classifier
        if free_classifier:
            self.conv_seg = nn.Conv2d(channels, self.out_channels, 1)
        else:
            self.conv_seg = make.linear(channels, self.out_channels)

    def upsample_and_classify(self, features: Tensor) -> Tensor:
        """Map features (N, channels, h, w) to logits (N, K, H, W).

        The classifier runs in float32 under autocast: margins are smaller than bfloat16's steps.
        """
        features = self.upsample(features)
        with torch.autocast(features.device.type, enabled=False):
            half = features.dtype in (torch.bfloat16, torch.float16)
            return self.conv_seg(features.float() if half else features)
