import pytest
import torch

from mmseg_lipcert.lipschitz import audit
from mmseg_lipcert.models.backbones import LipShiftUNet
from mmseg_lipcert.models.layers import fold_network


@pytest.mark.parametrize("size", LipShiftUNet.SIZES)
def test_feature_map_of_every_size(size):
    table = LipShiftUNet.SIZES[size]
    backbone = LipShiftUNet(size).eval()
    height, width = backbone.total_stride, 2 * backbone.total_stride
    (feature,) = backbone(torch.zeros(1, 3, height, width))
    stem = table["stem"]
    assert feature.shape == (1, table["widths"][0], height // stem, width // stem)


class Features(torch.nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x):
        return self.backbone(x)[0]


def test_audit_of_moved_weights_is_one_and_folding_changes_nothing():
    backbone = LipShiftUNet("S").eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    folded = fold_network(Features(backbone))
    x = torch.rand(1, 3, 32, 48)
    torch.testing.assert_close(folded(x), backbone(x)[0], rtol=1e-4, atol=1e-5)
    found = audit(folded, x.shape, x - 0.5)
    assert 1 - 1e-6 <= found.upper <= 1.0001
    assert found.lower <= found.upper


def test_unknown_size():
    with pytest.raises(ValueError, match="got 'XXL'"):
        LipShiftUNet("XXL")
