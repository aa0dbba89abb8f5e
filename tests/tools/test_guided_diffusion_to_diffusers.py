"""Outputs before and after conversion, against our own small model with the original's names."""

import math

import pytest
import torch
from diffusers import UNet2DModel
from torch import nn
from torch.nn import functional as F

from mmseg_lipcert.models.denoisers import DiffusersDenoiser
from mmseg_lipcert.utils.cli import CommandLineError

HEAD = 32


class Residual(nn.Module):
    """Norm, resample, convolve, then norm scaled and shifted by the time embedding."""

    def __init__(self, channels, out, embedding, resample=None):
        super().__init__()
        self.in_layers = nn.ModuleList(
            [nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, out, 3, padding=1)]
        )
        self.emb_layers = nn.ModuleList([nn.SiLU(), nn.Linear(embedding, 2 * out)])
        self.out_layers = nn.ModuleList(
            [nn.GroupNorm(32, out), nn.SiLU(), nn.Dropout(0), nn.Conv2d(out, out, 3, padding=1)]
        )
        self.skip_connection = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()
        self.resample = resample

    def forward(self, x, embedding):
        norm, act, conv = self.in_layers
        h = act(norm(x))
        if self.resample == "down":
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        elif self.resample == "up":
            h, x = F.interpolate(h, scale_factor=2), F.interpolate(x, scale_factor=2)
        h = conv(h)
        scale, shift = self.emb_layers[1](F.silu(embedding))[..., None, None].chunk(2, 1)
        h = self.out_layers[0](h) * (1 + scale) + shift
        return self.skip_connection(x) + self.out_layers[3](F.silu(h))


class Attention(nn.Module):
    """Self-attention whose channels are q, k, v of the first head, of the second, and so on."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.GroupNorm(32, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x, embedding):
        flat = x.flatten(2)
        heads = self.qkv(self.norm(flat)).unflatten(1, (-1, 3, HEAD))
        q, k, v = heads[:, :, 0], heads[:, :, 1], heads[:, :, 2]
        weight = torch.einsum("bhct,bhcs->bhts", q, k) / math.sqrt(HEAD)
        mixed = torch.einsum("bhts,bhcs->bhct", weight.softmax(-1), v).flatten(1, 2)
        return x + self.proj_out(mixed).view_as(x)


class Original(nn.Module):
    """Two levels of 64 and 128 channels, one block each, attention on the second."""

    def __init__(self):
        super().__init__()
        self.time_embed = nn.Sequential(nn.Linear(64, 256), nn.SiLU(), nn.Linear(256, 256))

        def blocks(*parts):
            return nn.ModuleList(parts)

        def residual(channels, out, resample=None):
            return Residual(channels, out, 256, resample)

        self.input_blocks = blocks(
            blocks(nn.Conv2d(3, 64, 3, padding=1)),
            blocks(residual(64, 64)),
            blocks(residual(64, 64, "down")),
            blocks(residual(64, 128), Attention(128)),
        )
        self.middle_block = blocks(residual(128, 128), Attention(128), residual(128, 128))
        self.output_blocks = blocks(
            blocks(residual(256, 128), Attention(128)),
            blocks(residual(192, 128), Attention(128), residual(128, 128, "up")),
            blocks(residual(192, 64)),
            blocks(residual(128, 64)),
        )
        self.out = nn.Sequential(nn.GroupNorm(32, 64), nn.SiLU(), nn.Conv2d(64, 6, 3, padding=1))

    def forward(self, x, timestep):
        frequencies = torch.exp(-math.log(10000) * torch.arange(32) / 32)
        angles = timestep[:, None].float() * frequencies
        embedding = self.time_embed(torch.cat((angles.cos(), angles.sin()), 1))
        skips = []
        for block in self.input_blocks:
            for part in block:
                x = part(x) if isinstance(part, nn.Conv2d) else part(x, embedding)
            skips.append(x)
        for part in self.middle_block:
            x = part(x, embedding)
        for block in self.output_blocks:
            x = torch.cat((x, skips.pop()), 1)
            for part in block:
                x = part(x, embedding)
        return self.out(x)


@pytest.fixture(scope="module")
def original():
    torch.manual_seed(0)
    model = Original().eval()
    for parameter in model.parameters():  # norms that do something, attention that is not uniform
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture
def tool(run_tool, tmp_path):
    def run(state, *options):
        torch.save(state, tmp_path / "original.pt")
        sizes = ["--head-channels", HEAD, "--image-size", 16]
        files = [tmp_path / "original.pt", tmp_path / "model"]
        run_tool("model_converters/guided_diffusion_to_diffusers.py", *files, *options, *sizes)
        return tmp_path / "model"

    return run


@pytest.mark.parametrize("size", [(16, 16), (8, 24)])
def test_outputs_agree(original, tool, size):
    unet = UNet2DModel.from_pretrained(tool(original.state_dict()) / "unet").eval()
    images, times = torch.randn(2, 3, *size), torch.tensor([3.7, 640.2])
    with torch.no_grad():
        expected = original(images, times)
        found = unet(images, times).sample
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_another_order_of_attention_channels_would_be_wrong(original, tool):
    unet = UNet2DModel.from_pretrained(tool(original.state_dict()) / "unet").eval()
    images, times = torch.randn(1, 3, 16, 16), torch.tensor([100.0])
    qkv = original.middle_block[1].qkv.weight.squeeze(-1).chunk(3)
    attention = unet.mid_block.attentions[0]
    for layer, weight in zip((attention.to_q, attention.to_k, attention.to_v), qkv, strict=True):
        layer.weight.data.copy_(weight)
    with torch.no_grad():
        expected = original(images, times)
        wrong = unet(images, times).sample
    assert (wrong - expected).abs().max() > 1e-3 * expected.abs().max()


def test_it_is_a_denoiser(original, tool):
    folder = tool(original.state_dict(), "--half")
    denoiser = DiffusersDenoiser(folder)
    assert denoiser.family.prediction == "epsilon" and denoiser.family.clip == 1
    assert denoiser(torch.rand(1, 3, 20, 30), 0.25).shape == (1, 3, 20, 30)
    assert not folder.with_name("model.partial").exists()


def test_weights_of_another_topology_are_named(original, tool):
    state = original.state_dict()
    with pytest.raises(CommandLineError, match="1 weights of another topology: surprise.weight"):
        tool({**state, "surprise.weight": torch.zeros(1)})
    with pytest.raises(CommandLineError, match="has no middle_block.0.in_layers.2.bias"):
        tool({k: v for k, v in state.items() if k != "middle_block.0.in_layers.2.bias"})
    with pytest.raises(CommandLineError, match="class-conditional"):
        tool({**state, "label_emb.weight": torch.zeros(1)})


def test_nothing_is_overwritten(original, tool):
    tool(original.state_dict())
    with pytest.raises(CommandLineError, match="exists already"):
        tool(original.state_dict())
