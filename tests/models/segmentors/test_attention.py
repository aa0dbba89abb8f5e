import pytest
import torch
from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmseg.models.backbones.mit import EfficientMultiheadAttention
from torch import nn

from mmseg_lipcert.models.segmentors.attention import skip_attention_weights


class OwnBlock(nn.Module):
    """Reads the weights."""

    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return self.attn(x, x, x)[1]


def asked(block, *inputs):
    """What a block computes, and whether it asks for weights."""
    seen = []
    (attention,) = (part for part in block.modules() if isinstance(part, nn.MultiheadAttention))
    hook = attention.register_forward_hook(
        lambda module, args, kwargs, result: seen.append(result[1] is not None), with_kwargs=True
    )
    with torch.no_grad():
        result = block(*inputs)
    hook.remove()
    (weights,) = seen
    return result, weights


@pytest.mark.parametrize("sr_ratio", [1, 2])
def test_segformer_computes_the_same_without_weights(sr_ratio):
    block = EfficientMultiheadAttention(8, 2, sr_ratio=sr_ratio).eval()
    inputs = (torch.randn(2, 16, 8), (4, 4))
    expected, weights = asked(block, *inputs)
    assert weights
    for _ in range(2):  # wrapping twice is no mistake
        skip_attention_weights(block)
    found, weights = asked(block, *inputs)
    assert not weights
    torch.testing.assert_close(found, expected)


def test_transformers_of_mmcv_compute_the_same_without_weights():
    block = MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(2, 16, 8)
    expected, _ = asked(block, x)
    skip_attention_weights(block)
    found, weights = asked(block, x)
    assert not weights
    torch.testing.assert_close(found, expected)


def test_who_reads_the_weights_gets_them():
    own = OwnBlock().eval()
    skip_attention_weights(own)
    assert own(torch.randn(1, 3, 8)).shape == (1, 3, 3)
    block = MultiheadAttention(8, 2, batch_first=True).eval()
    skip_attention_weights(block)
    x = torch.randn(1, 3, 8)
    assert block.attn(x, x, x, need_weights=True)[1] is not None
    assert block.attn(x, x, x, None, True)[1] is not None
    assert block.attn(x, x, x)[1] is None
