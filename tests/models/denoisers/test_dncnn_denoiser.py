import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from mmseg_lipcert.models.denoisers.dncnn_denoiser import dncnn
from mmseg_lipcert.utils.user_error import UserError


class Published(nn.Module):
    """The layout of published checkpoints."""

    def __init__(self, depth, channels):
        super().__init__()
        layers = [nn.Conv2d(3, channels, 3, padding=1, bias=True), nn.ReLU()]
        for _ in range(depth - 2):
            layers.append(nn.Conv2d(channels, channels, 3, padding=1, bias=False))
            layers.append(nn.BatchNorm2d(channels, eps=0.0001, momentum=0.95))
            layers.append(nn.ReLU())
        layers.append(nn.Conv2d(channels, 3, 3, padding=1, bias=False))
        self.dncnn = nn.Sequential(*layers)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.running_mean)
                nn.init.uniform_(part.running_var, 0, 1e-3)

    def forward(self, x):
        return x - self.dncnn(x)


def build(path):
    return MODELS.build(dict(type="DnCNNDenoiser", path=str(path)))


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("depth", "channels"), [(5, 8), (3, 16)])
def test_equals_the_published_network(tmp_path, wrapped, depth, channels):
    network = Published(depth, channels).eval()
    weights = network.state_dict()
    if wrapped:
        weights = {f"module.{key}": value for key, value in weights.items()}
        weights = dict(epoch=600, arch="imagenet_dncnn", state_dict=weights)
    torch.save(weights, tmp_path / "checkpoint.pth.tar")
    denoiser = build(tmp_path / "checkpoint.pth.tar")
    noisy = torch.randn(2, 3, 9, 14)
    torch.testing.assert_close(denoiser(noisy, 0.25), network(noisy))
    assert not denoiser.training
    assert not any(parameter.requires_grad for parameter in denoiser.parameters())


def test_published_size():
    network = dncnn()
    assert sum(isinstance(layer, nn.Conv2d) for layer in network) == 17
    assert sum(parameter.numel() for parameter in network.parameters()) == 558_400


def test_a_missing_file_says_what_to_fetch(tmp_path):
    with pytest.raises(FileNotFoundError, match="Nothing is downloaded: fetch"):
        build(tmp_path / "absent.pth")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], "holds a list, no state_dict"),
        (dict(epoch=3), "epoch must be a tensor, it is a int"),
        (dict(a=torch.zeros(3)), "holds no DnCNN: 0 convolutions"),
        (nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 1, 3)).state_dict(), "2 layers for RGB"),
    ],
)
def test_other_files_are_refused(tmp_path, weights, message):
    torch.save(weights, tmp_path / "file.pth")
    with pytest.raises((UserError, ValueError), match=message):
        build(tmp_path / "file.pth")


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    weights = Published(3, 8).state_dict()
    weights["dncnn.0.weight"][0, 0, 0, 0] = torch.nan
    torch.save(weights, tmp_path / "diverged.pth")
    with pytest.raises(UserError, match=r"diverged.pth: dncnn.0.weight must hold finite floats"):
        build(tmp_path / "diverged.pth")
