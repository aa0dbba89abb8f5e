from __future__ import annotations

import torch.nn.functional as F
from mmseg.registry import MODELS
from orthogonium.layers import AdaptiveOrthoConv2d
from torch import Tensor, nn

from .orthogonal_layer import OrthogonalLayer, square


@MODELS.register_module()
class AOCConv2d(OrthogonalLayer):
    """Orthogonal convolution (Adaptive Orthogonal Convolution), usable as ``conv_cfg``.

    With zero padding the operator is a compression of an orthogonal one: its norm stays at most 1.
    Source: Boissin et al., "An Adaptive Orthogonal Convolution Scheme for Efficient and Flexible
    CNN Architectures", 2025; implementation: orthogonium.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        kernel_size: Kernel size, square.
        stride: Stride, at most the kernel size. Defaults to 1.
        padding: Padding. Defaults to 0.
        dilation: Dilation. Defaults to 1.
        groups: Channel groups. Defaults to 1.
        bias: Whether to add a bias. Defaults to True.
        padding_mode: ``'zeros'`` or ``'circular'``; other modes have norms above 1.

    Raises:
        ValueError: If the kernel is not square, or the padding mode is not norm preserving.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        if padding_mode not in ("zeros", "circular"):
            raise ValueError(f"padding_mode must be 'zeros' or 'circular', got {padding_mode!r}")
        super().__init__(
            AdaptiveOrthoConv2d(
                in_channels,
                out_channels,
                kernel_size=square("kernel_size", kernel_size),
                stride=square("stride", stride),
                padding=padding,
                dilation=square("dilation", dilation),
                groups=groups,
                bias=bias,
                padding_mode=padding_mode,
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x``, shape (N, in_channels, H, W)."""
        if self.conv.padding_mode == "circular":
            x = F.pad(x, self.conv._reversed_padding_repeated_twice, mode="circular")
        padding = 0 if self.conv.padding_mode == "circular" else self.padding
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def fold(self) -> nn.Conv2d:
        """Return the plain convolution that this layer computes in evaluation."""
        plain = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            bias=self.bias is not None,
            padding_mode=self.conv.padding_mode,
        )
        return self._copy_into(plain)
