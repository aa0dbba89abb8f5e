from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class SLLBlock(nn.Module):
    r"""Pointwise SDP-based Lipschitz layer :math:`x - 2 W^T T^{-1} relu(W x + b)`.

    With the diagonal :math:`T_i = \sum_j |W W^T|_{ij} q_j / q_i` and any positive q,
    :math:`W^T T^{-1} W \preceq I` (Gershgorin), so that the block is 1-Lipschitz for every W: it
    needs no iteration, keeps the identity as its skip path, and can forget (its Jacobian's
    eigenvalues lie in [-1, 1]), which orthogonal layers cannot. The product :math:`W W^T` costs
    little because the kernel is 1x1; :class:`RolledStage` moves the pixels between blocks.

    Source: Araujo et al., "A Unified Algebraic Perspective on Lipschitz Neural Networks", ICLR
    2023 (SLL: SDP-based Lipschitz layer).

    Args:
        channels: Channels of the map.
        hidden: Rows of W. Defaults to None: ``channels``.
    """

    def __init__(self, channels: int, hidden: int | None = None) -> None:
        super().__init__()
        hidden = hidden or channels
        self.weight = nn.Parameter(torch.empty(hidden, channels))
        self.bias = nn.Parameter(torch.empty(hidden))
        #: Logarithm of q.
        self.log_scale = nn.Parameter(torch.empty(hidden))
        self.init_weights()

    def init_weights(self) -> None:
        """Start from orthonormal rows (or columns), where T is the identity (or close to it)."""
        nn.init.orthogonal_(self.weight)
        nn.init.zeros_(self.bias)
        nn.init.zeros_(self.log_scale)

    @property
    def adjoint(self) -> Tensor:
        """The matrix :math:`2 W^T T^{-1}`, shape (channels, hidden), in float32 or better."""
        with torch.autocast(self.weight.device.type, enabled=False):
            q = self.log_scale.exp()
            sums = ((self.weight @ self.weight.T).abs() * q / q[:, None]).sum(1)
            # A row of zeros contributes nothing, whatever its scale.
            scale = 2 / torch.where(sums > 0, sums, 1)
            return (self.weight * scale[:, None]).T

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x``, shape (N, channels, H, W)."""
        hidden = F.relu(F.conv2d(x, self.weight[:, :, None, None], self.bias))
        return x - F.conv2d(hidden, self.adjoint[:, :, None, None])

    def fold(self) -> FoldedSLLBlock:
        """Return the plain block that this one computes in evaluation."""
        plain = FoldedSLLBlock(self.weight.shape[1], len(self.bias)).to(self.weight)
        with torch.no_grad():
            plain.inner.weight.copy_(self.weight[:, :, None, None])
            plain.inner.bias.copy_(self.bias)
            plain.outer.weight.copy_(self.adjoint[:, :, None, None])
        return plain

    def extra_repr(self) -> str:
        """Shape shown by ``print``."""
        return f"{self.weight.shape[1]}, hidden={len(self.bias)}"


class FoldedSLLBlock(nn.Module):
    """An :class:`SLLBlock` with both matrices written out; the audit verifies their relation."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, hidden, 1)
        self.outer = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x``, shape (N, channels, H, W)."""
        return x - self.outer(F.relu(self.inner(x)))
