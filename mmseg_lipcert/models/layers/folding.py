from __future__ import annotations

import copy

import torch
from mmcv.cnn import ConvModule
from torch import nn

from .batch_centering2d import BatchCentering2d
from .orthogonal_layer import OrthogonalLayer
from .sll_block import SLLBlock


def fold_network(network: nn.Module) -> nn.Module:
    """Return a plain, frozen copy of ``network`` for inference, in evaluation mode.

    Constrained convolutions become ``nn.Conv2d`` and ``nn.ConvTranspose2d`` with the kernels that
    they compute now, and batch centering behind a convolution becomes part of its bias. The copy
    computes the same logits (to float32 rounding) at the speed of the same network without
    constraints, and its weights cannot move: it is what gets audited and certified.

    Args:
        network: A network that may hold :class:`OrthogonalLayer`, :class:`SLLBlock` and
            :class:`BatchCentering2d` modules; it is left unchanged.
    """
    plain = copy.deepcopy(network)
    for module in list(plain.modules()):
        # Not named_children(), which leaves out the second name of a shared layer.
        for name, child in list(module._modules.items()):
            if isinstance(child, OrthogonalLayer | SLLBlock):
                setattr(module, name, child.fold())
    for module in plain.modules():
        if isinstance(module, ConvModule):
            _absorb_centering(module)
    return plain.eval().requires_grad_(False)


@torch.no_grad()
def _absorb_centering(module: ConvModule) -> None:
    """Move a batch centering that follows the convolution into the convolution's bias."""
    order = [layer for layer in module.order if layer != "act" or module.with_activation]
    if not isinstance(module.norm, BatchCentering2d):
        return
    if order.index("norm") != order.index("conv") + 1:
        return
    translation = module.norm.translation
    # A copy: another module may share the convolution, with another centering.
    module.conv = copy.deepcopy(module.conv)
    if module.conv.bias is None:
        module.conv.bias = nn.Parameter(translation.clone())
    else:
        module.conv.bias.add_(translation)
    setattr(module, module.norm_name, nn.Identity())
