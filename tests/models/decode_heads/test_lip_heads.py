import pytest
import torch

from mmseg_lipcert.models.decode_heads import LipASPPHead, LipFCNHead, LipNetHead

COMMON = dict(num_classes=5, loss_decode=dict(type="TemperatureCrossEntropyLoss", temperature=10.0))


@pytest.mark.parametrize("upsample", [(), (8,), (16, 8)])
def test_fcn_head_up_samples_by_two_per_step(upsample, mmseg_scope):
    head = LipFCNHead(16, 8, upsample_channels=upsample, **COMMON).eval()
    logits = head((torch.rand(2, 16, 4, 6),))
    factor = 2 ** len(upsample)
    assert logits.shape == (2, 5, 4 * factor, 6 * factor)


def test_aspp_head_keeps_the_size_and_norm(mmseg_scope):
    head = LipASPPHead(8, 8, dilations=(1, 2), **COMMON).eval()
    assert head.project.in_channels == 4 * 8
    x, y = torch.rand(2, 1, 8, 6, 6)
    moved = (head((x,)) - head((y,))).norm()
    assert moved <= (x - y).norm() * 1.001


def test_published_head_is_linear_up_to_its_projection(mmseg_scope):
    head = LipNetHead(8, 8, dilations=(1, 2), upsample_channels=(8,), **COMMON).eval()
    assert head.project.in_channels == 3 * 8
    assert [branch.with_activation for branch in head.branches] == [False] * 3
    x, y = torch.rand(2, 1, 8, 6, 6)
    logits = head((x,))
    assert logits.shape == (1, 5, 12, 12)
    assert (logits - head((y,))).norm() <= (x - y).norm() * 1.001


def test_heads_refuse_what_breaks_the_bound(mmseg_scope):
    with pytest.raises(ValueError, match="no dropout, got 0.1"):
        LipFCNHead(8, 8, dropout_ratio=0.1, **COMMON)
    with pytest.raises(ValueError, match="one feature map"):
        LipFCNHead(8, 8, input_transform="resize_concat", **COMMON)
    with pytest.raises(ValueError, match="keeps the 8 channels, but channels=4"):
        LipFCNHead(8, 4, num_convs=0, **COMMON)
