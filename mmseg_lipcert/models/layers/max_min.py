from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.autograd import Function


@MODELS.register_module()
class MaxMin(nn.Module):
    r"""Sort the two halves of the channels pairwise: :math:`(a, b) \mapsto (\max, \min)`.

    A permutation of every pair, hence gradient norm preserving and 1-Lipschitz for every
    :math:`\ell_p` norm. Channel ``i`` is paired with channel ``i + C/2``.
    Source: Anil et al., "Sorting out Lipschitz function approximation", ICML 2019.

    Args:
        inplace: Accepted because MMCV's ``ConvModule`` passes it to every activation; sorting a
            pair cannot be done in place. Defaults to False.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Sort channel pairs of ``x``, shape (N, C, H, W) with an even C."""
        if x.shape[1] % 2:
            raise ValueError(f"MaxMin needs an even number of channels, got {x.shape[1]}")
        if self.training:
            return _SortPairs.apply(x)
        return _sort_pairs(x)


def _sort_pairs(x: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=1)
    return torch.cat((torch.maximum(a, b), torch.minimum(a, b)), dim=1)


class _SortPairs(Function):
    """The same map with a backward pass that permutes once.

    The derivatives of ``maximum`` and ``minimum`` split ties in half, which costs seven passes
    over the map; here a tie keeps its order.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        ctx.save_for_backward(a >= b)
        return _sort_pairs(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (ordered,) = ctx.saved_tensors
        high, low = grad.chunk(2, dim=1)
        return torch.cat((torch.where(ordered, high, low), torch.where(ordered, low, high)), dim=1)
