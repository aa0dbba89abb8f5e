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


# Iterations of a training step without a gradient, before the one with it. A step moves singular
# values by less than 0.1 as a rule; 3 iterations in all leave less than 1e-7 of that.
_RETRACTIONS = 2
# Above sqrt(3) an iteration would turn a singular value around.
_LARGEST_SQUARE = 2.9


def _toward_orthogonal(matrix: Tensor) -> Tensor:
    """One Björck iteration on matrices (..., rows, columns), which are shrunk where it would fail.

    At an orthogonal matrix its derivative is the projection onto the tangent space.
    """
    wide = matrix.shape[-2] <= matrix.shape[-1]
    gram = matrix @ matrix.mT if wide else matrix.mT @ matrix
    # No eigenvalue is larger than the largest sum of a row.
    largest = gram.detach().abs().sum(-1).amax(-1)[..., None, None]
    shrink = (_LARGEST_SQUARE / largest).clamp(max=1.0)
    matrix, gram = matrix * shrink.sqrt(), gram * shrink
    return 1.5 * matrix - 0.5 * (gram @ matrix if wide else matrix @ gram)


class OrthogonalLayer(nn.Module):
    """A convolution whose kernel orthogonium keeps orthogonal, with MMCV's conventions.

    The kernel is recomputed from free parameters at every training step, always in float32: under
    autocast a half-precision Björck iteration would not converge to an orthogonal kernel. Where the
    kernel is one orthogonal matrix (strides as large as the kernel, 1x1), a training step moves the
    free matrix back to the orthogonal ones instead (a retraction), from which a few iterations
    suffice; evaluation iterates as orthogonium does, whatever the matrix.
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
        self.register_load_state_dict_post_hook(OrthogonalLayer._leave)

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
            if self.training and (single := self._single) is not None:
                return self._near_kernel(single)
            if hasattr(conv, "weight_1"):
                # orthogonium's own property caches parametrizations in evaluation, the vectors of
                # the power iteration among them: from a random start that gives wrong kernels.
                return fast_matrix_conv(conv.weight_1, conv.weight_2, conv.groups).contiguous()
            return conv.weight

    @torch.no_grad()
    def retract(self) -> None:
        """Move the free matrix to the orthogonal one of its kernel; others stay as they are."""
        if (single := self._single) is not None:
            single.original.copy_(self.conv.weight / single[0].scale)

    def train(self, mode: bool = True) -> OrthogonalLayer:
        """Switch between training and evaluation; neither changes a weight."""
        self._leave()
        return super().train(mode)

    #: Whether the free matrix is known to be near the orthogonal ones.
    _near = False

    def _leave(self, _: object = None) -> None:
        self._near = False

    @property
    def _single(self) -> parametrize.ParametrizationList | None:
        """The parametrization of a kernel that is one orthogonal matrix."""
        lists = getattr(self.conv, "parametrizations", {})
        found = lists["weight"] if "weight" in lists else None
        return found if found and isinstance(found[0], RKOParametrizer) else None

    def _near_kernel(self, single: parametrize.ParametrizationList) -> Tensor:
        """The kernel of a free matrix that the last step has left near the orthogonal ones."""
        if not self._near:  # after a change of mode or a checkpoint
            self.retract()
            self._near = True
        free = single.original
        rows = free.view(self.groups, free.shape[0] // self.groups, -1)
        # Of the data alone: a second forward pass in front of the backward pass moves them by less
        # than rounding, and must not look like a change of what the first one saved.
        for _ in range(_RETRACTIONS):
            rows.data.copy_(_toward_orthogonal(rows.data))
        return _toward_orthogonal(rows).view_as(free) * single[0].scale

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
