"""The classes of a pixel lie apart; nothing else differs from a convolution."""

import pytest
import torch
from torch import nn

from mmseg_lipcert.lipschitz import audit
from mmseg_lipcert.models.layers import ClassMajorConv2d


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_computes_the_convolution_class_by_class(images, layout):
    conv = nn.Conv2d(6, 5, 1)
    features = torch.randn(images, 6, 7, 9).to(memory_format=layout)
    with torch.no_grad():
        found = ClassMajorConv2d(conv)(features)
        torch.testing.assert_close(found, conv(features))
    assert found.is_contiguous()


def test_its_bound_is_that_of_the_convolution():
    conv = nn.Conv2d(6, 5, 1).eval().requires_grad_(False)
    samples = torch.randn(1, 6, 8, 8)
    plain, parted = (
        audit(model, samples.shape, samples) for model in (conv, ClassMajorConv2d(conv))
    )
    assert parted.upper == pytest.approx(plain.upper, rel=1e-6)
    assert parted.lower == pytest.approx(parted.upper, rel=1e-5), "the bound is attained"


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 1, stride=2),
        nn.Conv2d(4, 4, 1, padding=1),
        nn.Conv2d(4, 4, 1, groups=2),
        nn.Conv2d(4, 4, 1, bias=False),
        nn.ConvTranspose2d(4, 4, 1),
        nn.Linear(4, 4),
    ],
)
def test_other_layers_stay_what_they_are(layer):
    assert not ClassMajorConv2d.can_replace(layer)
    assert ClassMajorConv2d.can_replace(nn.Conv2d(4, 4, 1))
