from __future__ import annotations

import torch.nn.functional as F
from mmseg.registry import MODELS
from orthogonium.layers import AdaptiveOrthoConvTranspose2d
from torch import Tensor, nn

from .orthogonal_layer import OrthogonalLayer, square


@MODELS.register_module()
class AOCConvTranspose2d(OrthogonalLayer):
    """Orthogonal transposed convolution: learned up-sampling of norm 1, usable as ``conv_cfg``.

    The adjoint of a strided orthogonal convolution. It is isometric when ``in_channels`` is at
    most ``out_channels * stride**2``, and a contraction otherwise.
    Source: Boissin et al., "An Adaptive Orthogonal Convolution Scheme for Efficient and Flexible
    CNN Architectures", 2025; implementation: orthogonium.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        kernel_size: Kernel size, square, at least the stride.
        stride: Up-sampling factor. Defaults to 1.
        padding: Rows and columns cut at each border. Defaults to 0.
        output_padding: Rows and columns added at one border; they hold the part of the adjoint that
            ``padding`` cut. Defaults to 0.
        groups: Channel groups. Defaults to 1.
        bias: Whether to add a bias. Defaults to True.
        dilation: Dilation. Defaults to 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        output_padding: int | tuple[int, int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, int] = 1,
    ) -> None:
        super().__init__(
            AdaptiveOrthoConvTranspose2d(
                in_channels,
                out_channels,
                kernel_size=square("kernel_size", kernel_size),
                stride=square("stride", stride),
                padding=padding,
                output_padding=output_padding,
                groups=groups,
                bias=bias,
                dilation=square("dilation", dilation),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Up-sample ``x``, shape (N, in_channels, H, W)."""
        return F.conv_transpose2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )

    def fold(self) -> nn.ConvTranspose2d:
        """Return the plain transposed convolution that this layer computes in evaluation."""
        plain = nn.ConvTranspose2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            bias=self.bias is not None,
            dilation=self.dilation,
        )
        return self._copy_into(plain)
