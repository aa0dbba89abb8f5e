from __future__ import annotations

from typing import Any

from torch import nn

# Their attention blocks take the first result of nn.MultiheadAttention and drop the second.
_DROPPING = ("mmcv", "mmseg")


def skip_attention_weights(segmentor: nn.Module) -> None:
    """Spare the attention of MMCV's and MMSegmentation's blocks the weights that nobody reads.

    ``nn.MultiheadAttention`` gives its weights beside its result unless told not to; without them
    PyTorch takes the fused kernel, which never writes the matrix of all pairs of pixels. The
    result is the same up to rounding.

    Args:
        segmentor: Changed in place, by hooks; a caller that says ``need_weights`` itself is obeyed.
    """
    for block in segmentor.modules():
        if type(block).__module__.partition(".")[0] not in _DROPPING:
            continue
        for part in block.children():
            if isinstance(part, nn.MultiheadAttention):
                part.register_forward_pre_hook(_without_weights, with_kwargs=True)


def _without_weights(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    said = len(args) > 4  # query, key, value, key_padding_mask, need_weights
    return args, kwargs if said else {"need_weights": False, **kwargs}
