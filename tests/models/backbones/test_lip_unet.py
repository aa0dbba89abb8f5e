import pytest
import torch

from mmseg_lipcert.models.backbones import LipUNet


@pytest.mark.parametrize("size", LipUNet.SIZES)
@pytest.mark.parametrize("skip", ["split", "concat"])
def test_feature_map_of_every_size(size, skip):
    table = LipUNet.SIZES[size]
    backbone = LipUNet(size, skip).eval()
    height, width = backbone.total_stride, 2 * backbone.total_stride
    (feature,) = backbone(torch.zeros(1, 3, height, width))
    stem = table["stem"]
    assert feature.shape == (1, table["widths"][0], height // stem, width // stem)


def test_split_skip_sends_each_channel_one_way():
    backbone = LipUNet("XS").eval()
    kept, sent = [], []
    backbone.encoders[0].register_forward_hook(lambda module, x, y: kept.append(y))
    backbone.downs[0].register_forward_pre_hook(lambda module, x: sent.append(x[0]))
    backbone(torch.rand(1, 3, 32, 32))
    torch.testing.assert_close(sent[0], kept[0][:, 16:])


@pytest.mark.parametrize(
    ("arguments", "message"), [(("XXL",), "got 'XXL'"), (("S", "sum"), "got 'sum'")]
)
def test_unknown_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        LipUNet(*arguments)
