"""Folding may not change the function, whatever is shared."""

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn

from mmseg_lipcert.models.layers import fold_network


class Shared(nn.Module):
    """Two blocks with one convolution and centerings of their own, one layer under two names."""

    def __init__(self, conv):
        super().__init__()
        settings = dict(conv_cfg=conv, norm_cfg=dict(type="BatchCentering2d"), bias=True)
        self.first = ConvModule(4, 4, 3, padding=1, **settings)
        self.second = ConvModule(4, 4, 3, padding=1, **settings)
        self.second.conv = self.first.conv
        self.again = self.alias = ConvModule(4, 4, 1, conv_cfg=conv).conv
        for value, block in enumerate((self.first, self.second)):
            nn.init.normal_(block.norm.running_mean, value)
            nn.init.normal_(block.norm.bias, -value)

    def forward(self, x):
        return torch.cat([self.first(x), self.second(self.alias(x)), self.again(x)], 1)


@pytest.mark.parametrize("conv", [None, dict(type="AOCConv2d")])
def test_shared_layers_keep_the_function(conv, mmseg_scope):
    network = Shared(conv).eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    image = torch.randn(2, 4, 7, 9)
    folded = fold_network(network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(folded(image), network(image), rtol=1e-4, atol=1e-5)
    plain = (nn.Conv2d, nn.ReLU, nn.Identity, ConvModule, Shared)
    assert all(isinstance(module, plain) for module in folded.modules())
