import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from mmseg_lipcert.datasets import AddGaussianNoise, Denoise


@MODELS.register_module()
class RecordingDenoiser(nn.Module):
    """Subtracts sigma from the first channel, and remembers what it was given."""

    def forward(self, noisy, sigma, generators=None):
        self.given = noisy, sigma
        clean = noisy.clone()
        clean[:, 0] -= sigma
        return clean


@pytest.mark.parametrize("bgr", [True, False])
def test_the_denoiser_gets_the_noisy_image_and_its_level(mmseg_scope, bgr):
    transform = Denoise(dict(type="RecordingDenoiser"), bgr_to_rgb=bgr)
    image = np.random.default_rng(0).integers(256, size=(5, 7, 3), dtype=np.uint8)
    noisy = AddGaussianNoise((0.1, 0.5)).transform(dict(img=image))
    before, sigma = noisy["img"].copy(), noisy["noise_sigma"]
    assert 0.1 <= sigma <= 0.5
    result = transform(noisy)["img"]
    given, told = transform.denoiser.given
    order = before[..., ::-1] if bgr else before
    expected = torch.from_numpy(order.transpose(2, 0, 1) / np.float32(255))
    torch.testing.assert_close(given[0], expected)
    assert told == sigma and result.dtype == np.float32
    red = 2 if bgr else 0
    before[..., red] -= 255 * sigma
    np.testing.assert_allclose(result, before, atol=1e-3)


def test_it_needs_the_noise_level(mmseg_scope):
    with pytest.raises(ValueError, match="needs the noise level of AddGaussianNoise"):
        Denoise(dict(type="RecordingDenoiser"))(dict(img=np.zeros((2, 2, 3), np.float32)))
