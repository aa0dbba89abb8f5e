import pytest
import torch

from mmseg_lipcert.models.layers import BatchCentering2d


def test_buffer_keeps_its_shape_and_is_restored():
    layer = BatchCentering2d(4)
    shape = layer.running_mean.shape
    layer(torch.randn(3, 4, 5, 5) + 2)
    assert layer.running_mean.shape == shape == (4,)
    restored = BatchCentering2d(4)
    restored.load_state_dict(layer.state_dict(), strict=True)
    torch.testing.assert_close(restored.running_mean, layer.running_mean)


def test_running_mean_approaches_the_mean():
    layer = BatchCentering2d(2, momentum=0.5)
    x = torch.randn(8, 2, 16, 16) + torch.tensor([3.0, -1.0])[:, None, None]
    for _ in range(30):
        y = layer(x)
    torch.testing.assert_close(layer.running_mean, x.mean(dim=(0, 2, 3)))
    assert y.mean(dim=(0, 2, 3)).abs().max() < 1e-5


def test_is_a_translation():
    layer = BatchCentering2d(3).eval()
    layer.running_mean.normal_()
    a, b = torch.randn(2, 1, 3, 4, 4)
    torch.testing.assert_close(layer(a) - layer(b), a - b)


def test_momentum_is_checked():
    with pytest.raises(ValueError, match="got 0"):
        BatchCentering2d(3, momentum=0)
