from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class BatchCentering2d(nn.Module):
    r"""Subtract the running mean of each channel and add a learned bias.

    The 1-Lipschitz substitute of batch normalization: a translation has norm 1 whatever its
    statistics. Training and evaluation apply the same map (the running mean); training updates it
    first. ``running_mean`` has shape (C,) from the beginning, so that a checkpoint restores it.
    Source: the batch centering of Boissin et al., "An Adaptive Orthogonal Convolution Scheme for
    Efficient and Flexible CNN Architectures", 2025.

    Args:
        num_features: Number of channels C.
        momentum: Share of the current batch in the running mean. Defaults to 0.1.
        eps: Accepted because MMCV passes it to every norm layer; nothing is divided.
    """

    def __init__(self, num_features: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum must be in (0, 1], got {momentum}")
        self.num_features = num_features
        self.momentum = momentum
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))

    @property
    def translation(self) -> Tensor:
        """What is added to each channel, shape (C,)."""
        return self.bias - self.running_mean

    def forward(self, x: Tensor) -> Tensor:
        """Translate each channel of ``x``, shape (N, C, H, W)."""
        if self.training:
            with torch.no_grad():
                mean = x.mean(dim=(0, 2, 3)).to(self.running_mean)
                self.running_mean.lerp_(mean, self.momentum)
        return x + self.translation.to(x.dtype)[:, None, None]

    def extra_repr(self) -> str:
        """Settings shown by ``print``."""
        return f"{self.num_features}, momentum={self.momentum}"
