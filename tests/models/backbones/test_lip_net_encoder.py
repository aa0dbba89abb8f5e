import pytest
import torch

from mmseg_lipcert.models.backbones import LipNetEncoder


@pytest.mark.parametrize("size", ["S", "M1"])
def test_feature_map(size):
    widths, depth = LipNetEncoder.SIZES[size]
    backbone = LipNetEncoder(size).eval()
    assert len(backbone.layers) == len(widths) * depth
    stride = backbone.total_stride
    (feature,) = backbone(torch.zeros(1, 3, 2 * stride, 3 * stride))
    assert feature.shape == (1, widths[-1], 2, 3)


def test_padding_is_circular_up_to_the_convolution():
    """MMCV's ConvModule loses it: a shift by the stride must be a shift of the features."""
    backbone = LipNetEncoder("S").eval()
    x = torch.rand(1, 3, 48, 64)
    shifted = x.roll((16, -24), (2, 3))
    with torch.no_grad():
        torch.testing.assert_close(backbone(shifted)[0], backbone(x)[0].roll((2, -3), (2, 3)))


def test_settings_of_the_layers_can_be_changed():
    layers = LipNetEncoder("S", layers_cfg=dict(padding_mode="zeros")).layers
    assert {layer.conv.conv.padding_mode for layer in layers} == {"zeros"}
    assert all(layer.order == ("conv", "act", "norm") for layer in layers)


def test_unknown_size():
    with pytest.raises(ValueError, match="one of S, M1, M2, L, XL, got 'M'"):
        LipNetEncoder("M")
