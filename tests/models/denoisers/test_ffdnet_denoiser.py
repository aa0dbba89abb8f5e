import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from safetensors.torch import load_file, save_file
from torch import nn

from mmseg_lipcert.models.denoisers.ffdnet_denoiser import ffdnet
from mmseg_lipcert.utils.user_error import UserError


class Published(nn.Module):
    """The published network for even sizes, written out pixel by pixel."""

    def __init__(self, depth, channels):
        super().__init__()
        self.model = ffdnet(depth, channels)

    def forward(self, x, sigma):
        corners = [x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        squares = torch.stack(corners, 2).flatten(1, 2)
        level = torch.full_like(squares[:, :1], sigma)
        clean = self.model(torch.cat([squares, level], 1)).unflatten(1, (3, 4))
        result = torch.empty_like(x)
        for number in range(4):
            result[:, :, number // 2 :: 2, number % 2 :: 2] = clean[:, :, number]
        return result


@pytest.fixture
def published(tmp_path):
    network = Published(4, 8).eval().requires_grad_(False)
    save_file(network.state_dict(), tmp_path / "ffdnet.safetensors")
    return network, tmp_path / "ffdnet.safetensors"


def build(path, **options):
    return MODELS.build(dict(type="FFDNetDenoiser", path=str(path), **options))


def test_equals_the_published_network(published):
    network, path = published
    denoiser = build(path)
    noisy = torch.randn(2, 3, 10, 14)
    torch.testing.assert_close(denoiser(noisy, 0.25), network(noisy, 0.25))
    assert not torch.equal(denoiser(noisy, 0.25), denoiser(noisy, 0.1))
    assert not denoiser.training
    assert not any(parameter.requires_grad for parameter in denoiser.parameters())


@pytest.mark.parametrize("size", [(9, 14), (10, 13), (1, 1), (7, 5)])
def test_odd_sizes_are_continued_by_replication(published, size):
    network, path = published
    noisy = torch.randn(2, 3, *size)
    even = F.pad(noisy, (0, size[1] % 2, 0, size[0] % 2), mode="replicate")
    expected = network(even, 0.1)[:, :, : size[0], : size[1]]
    torch.testing.assert_close(build(path)(noisy, 0.1), expected)


def test_reduced_precision_is_close_and_float32_outside(published):
    _, path = published
    noisy = torch.rand(1, 3, 9, 14)
    exact, fast = build(path), build(path, dtype="bfloat16", channels_last=True)
    assert next(fast.parameters()).dtype == torch.bfloat16
    assert fast(noisy, 0.1).dtype == torch.float32
    torch.testing.assert_close(fast(noisy, 0.1), exact(noisy, 0.1), atol=0.02, rtol=0.02)


def test_published_size():
    network = ffdnet()
    assert sum(isinstance(layer, nn.Conv2d) for layer in network) == 12
    assert sum(parameter.numel() for parameter in network.parameters()) == 852_108


def test_what_is_wrong_is_named(published, tmp_path):
    _, path = published
    with pytest.raises(FileNotFoundError, match="Nothing is downloaded: fetch"):
        build(tmp_path / "absent.safetensors")
    (tmp_path / "ffdnet.pth").write_bytes(b"0" * 100)
    with pytest.raises(ValueError, match="no safetensors file .*ffdnet-to-safetensors"):
        build(tmp_path / "ffdnet.pth")
    save_file({"conv.weight": torch.ones(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"no FFDNet .*: its keys are not .*conv\.weight"):
        build(tmp_path / "other.safetensors")
    gray = nn.Sequential(nn.Conv2d(5, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)).state_dict()
    save_file({f"model.{key}": value for key, value in gray.items()}, tmp_path / "g.safetensors")
    with pytest.raises(ValueError, match="no FFDNet for RGB images"):
        build(tmp_path / "g.safetensors")
    with pytest.raises(ValueError, match="got 'int8'"):
        build(path, dtype="int8")
    with pytest.raises(ValueError, match=r"expected images \(B, 3, H, W\)"):
        build(path)(torch.rand(3, 4, 4), 0.1)


def test_weights_that_are_no_numbers_are_refused(published, tmp_path):
    weights = load_file(published[1])
    weights["model.0.bias"][0] = torch.inf
    save_file(weights, tmp_path / "diverged.safetensors")
    with pytest.raises(UserError, match="diverged.safetensors: model.0.bias must hold finite"):
        build(tmp_path / "diverged.safetensors")
