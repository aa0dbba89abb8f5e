import pytest
import torch

from mmseg_lipcert.models.layers import MaxMin


def test_sorts_channel_pairs():
    x = torch.tensor([1.0, 5.0, 3.0, -2.0]).view(1, 4, 1, 1)
    assert MaxMin()(x).flatten().tolist() == [3, 5, 1, -2]


def test_keeps_the_norm():
    x = torch.randn(2, 6, 5, 5)
    torch.testing.assert_close(MaxMin()(x).norm(), x.norm())


def test_gradient_is_exact_and_keeps_its_norm():
    x = torch.randn(2, 4, 3, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(MaxMin(), (x,))
    cotangent = torch.randn_like(x)
    (gradient,) = torch.autograd.grad(MaxMin()(x), x, cotangent)
    torch.testing.assert_close(gradient.norm(), cotangent.norm())


def test_odd_channels_are_refused():
    with pytest.raises(ValueError, match="even number of channels, got 3"):
        MaxMin()(torch.zeros(1, 3, 2, 2))
