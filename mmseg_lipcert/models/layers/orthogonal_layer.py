from __future__ import annotations

import torch
from orthogonium.layers.conv.AOC.fast_block_ortho_conv import fast_matrix_conv
from orthogonium.layers.conv.AOC.rko_conv import RKOParametrizer
from torch import Tensor, nn
from torch.nn.utils import parametrize


def square(name: str, value: int | tuple[int, int]) -> int:
    """Return the common value of a pair; orthogonal kernels are square."""
    if isinstance(value, int):
        return value
    if len(set(value)) == 1:
        return int(value[0])
    raise ValueError(f"{name} must be the same in both directions, got {tuple(value)}")


class OrthogonalLayer(nn.Module):
    """A convolution whose kernel orthogonium keeps orthogonal, with MMCV's conventions.

    The kernel is recomputed from free parameters at every training step, always in float32: under
    autocast a half-precision Björck iteration would not converge to an orthogonal kernel.
    For inference :meth:`fold` gives the plain convolution with that kernel.

    Args:
        conv: An orthogonium convolution.
    """

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.conv = conv
        for name in (
            "in_channels",
            "out_channels",
            "kernel_size",
            "stride",
            "padding",
            "dilation",
            "groups",
            "transposed",
            "output_padding",
        ):
            setattr(self, name, getattr(conv, name))
        self.init_weights()

    def init_weights(self) -> None:
        """Start from exactly orthonormal free matrices and a zero bias.

        MMCV and MMEngine call this instead of their own initialization, which would write
        non-orthogonal kernels through the parametrization.
        """
        for module in self.conv.modules():
            if not isinstance(module, parametrize.ParametrizationList):
                continue
            free = module.original
            if isinstance(module[0], RKOParametrizer):  # a kernel (out, in / groups, k, k)
                matrices = free.detach().view(self.groups, -1, free[0].numel())
            elif free.ndim == 4:  # a stack of BCOP matrices (groups, number, rows, columns)
                matrices = free.detach().flatten(0, 1)
            else:  # a vector of the power iteration
                continue
            for matrix in matrices:
                nn.init.orthogonal_(matrix)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    @property
    def bias(self) -> nn.Parameter | None:
        """The bias of the convolution, shape (out_channels,)."""
        return self.conv.bias

    @property
    def weight(self) -> Tensor:
        """The orthogonal kernel, computed in float32 from the free parameters."""
        conv = self.conv
        with torch.autocast(self._device_type, enabled=False):
            if hasattr(conv, "weight_1"):
                # orthogonium's own property caches parametrizations in evaluation, the vectors of
                # the power iteration among them: from a random start that gives wrong kernels.
                return fast_matrix_conv(conv.weight_1, conv.weight_2, conv.groups).contiguous()
            return conv.weight

    @property
    def _device_type(self) -> str:
        return next(self.conv.parameters()).device.type

    def _copy_into(self, plain: nn.Conv2d | nn.ConvTranspose2d) -> nn.Conv2d | nn.ConvTranspose2d:
        with torch.no_grad():
            kernel = self.weight
            plain.to(kernel.device)
            plain.weight.copy_(kernel)
            if self.bias is not None:
                plain.bias.copy_(self.bias)
        return plain
