import pytest
import torch

from mmseg_lipcert.models.backbones import LipEncoder


@pytest.mark.parametrize("size", LipEncoder.SIZES)
def test_feature_maps_of_every_size(size):
    table = LipEncoder.SIZES[size]
    backbone = LipEncoder(size).eval()
    height, width = 2 * backbone.total_stride, 3 * backbone.total_stride
    features = backbone(torch.zeros(1, 3, height, width))
    assert [feature.shape[1] for feature in features] == list(table["widths"])
    assert features[-1].shape[2:] == (2, 3)
    assert features[0].shape[2:] == (height // table["stem"], width // table["stem"])


def test_unknown_size():
    with pytest.raises(ValueError, match="one of S, M, L, got 'XXL'"):
        LipEncoder("XXL")
