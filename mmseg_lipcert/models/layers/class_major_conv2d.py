from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class ClassMajorConv2d(nn.Conv2d):
    """1x1 convolution whose result holds one class after the other.

    A convolution of a ``channels_last`` map keeps the classes of a pixel together. Certificates
    compare classes map by map, and on a CPU read such logits several times as slowly. As a product
    of matrices the convolution takes no longer and leaves them apart.

    Args:
        conv: A 1x1 convolution with a bias, without stride or groups; its parameters are used.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv.in_channels, conv.out_channels, 1, device="meta")
        self.weight, self.bias = conv.weight, conv.bias
        self.train(conv.training)

    @staticmethod
    def can_replace(conv: nn.Module) -> bool:
        """Whether a layer is such a convolution."""
        return (
            isinstance(conv, nn.Conv2d)
            and conv.kernel_size == conv.stride == (1, 1)
            and conv.padding == (0, 0)
            and conv.groups == 1
            and conv.bias is not None
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, C, H, W) to logits (N, K, H, W)."""
        weight = self.weight.flatten(1).expand(len(features), -1, -1)
        bias = cast(Tensor, self.bias)[:, None]
        logits = torch.baddbmm(bias, weight, features.flatten(2))
        return logits.unflatten(2, features.shape[2:])
