"""The training model: its loss against the definition, its export against DiffusersDenoiser."""

import math

import pytest
import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from safetensors.torch import load_file
from torch import nn

from mmseg_lipcert.certificates.smoothing import draw_noise
from mmseg_lipcert.models.denoisers import DenoisingDiffusion, DiffusersDenoiser


def build(kind="v_prediction", unet=(), **options) -> DenoisingDiffusion:
    network = dict(
        sample_size=4,
        in_channels=12,
        out_channels=12,
        block_out_channels=(8, 8),
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        add_attention=False,
        norm_num_groups=4,
    )
    return DenoisingDiffusion(
        network | dict(unet), dict(prediction_type=kind, clip_sample=True), **options
    )


class Zero(nn.Module):
    """Answers zero and remembers what it saw."""

    def forward(self, inputs, timesteps, return_dict):
        self.inputs, self.timesteps = inputs, timesteps
        return (torch.zeros_like(inputs),)


def watched(kind, count, **options):
    """Loss of a network that answers zero, the crops, and the level and noise of each."""
    model = build(kind, **options)
    model.unet = Zero()
    clean = torch.rand(count, 3, 8, 8) * 2 - 1
    loss = model(clean)["loss"]
    indices = torch.arange(1000.0)
    logs = torch.from_numpy(model.family.levels).log()
    times = model.unet.timesteps
    low = times.floor().long()
    level = torch.lerp(logs[low], logs[low + 1], (times - indices[low]).double()).exp()
    column = level.float()[:, None, None, None]
    seen = nn.functional.pixel_shuffle(model.unet.inputs, 2)
    return loss, clean, level, (seen * (1 + column**2).sqrt() - clean) / column


def test_a_snr_weight_of_one_is_the_loss_of_the_velocity():
    loss, clean, level, noise = watched("v_prediction", 4)
    column = level[:, None, None, None]
    velocity = (noise - column * clean) / (1 + column**2).sqrt()
    assert loss.item() == pytest.approx(velocity.square().mean().item(), rel=1e-4)


def test_a_snr_weight_of_zero_is_the_loss_of_the_image():
    loss, clean, _, _ = watched("sample", 4, snr_weight=0.0)
    assert loss.item() == pytest.approx(clean.square().mean().item(), rel=1e-5)


def test_noise_is_standard_normal_and_the_logarithm_of_its_level_uniform():
    _, _, level, noise = watched("epsilon", 4000, sigmas=(0.05, 0.8))
    assert noise.std().item() == pytest.approx(1, abs=0.01)
    assert abs(noise.mean().item()) < 0.01
    # Levels belong to images in [-1, 1].
    share = ((level / 2).log() - math.log(0.05)) / math.log(0.8 / 0.05)
    assert -1e-4 < share.min() < 0.01 and 0.99 < share.max() < 1 + 1e-4
    deciles = torch.histc(share.float(), 10, 0, 1) / len(share)
    torch.testing.assert_close(deciles, torch.full((10,), 0.1), atol=0.02, rtol=0)


def test_training_learns():
    model = build("sample", snr_weight=0.0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    clean = torch.full((8, 3, 8, 8), 0.5)
    losses = []
    for _ in range(60):
        losses.append(model(clean)["loss"])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert sum(losses[-10:]) < sum(losses[:10]) / 2


def test_autocast_concerns_the_activations_in_training_only():
    model = build(autocast="bfloat16")
    dtypes = []
    model.unet.conv_out.register_forward_hook(lambda m, i, o: dtypes.append(o.dtype))
    loss = model(torch.zeros(1, 3, 8, 8))["loss"]
    sample = SegDataSample(metainfo=dict(img_path="a.png"))
    model(torch.zeros(1, 3, 8, 8), [sample], mode="predict")
    assert loss.dtype == torch.float32
    assert dtypes[0] == torch.bfloat16 and set(dtypes[1:]) == {torch.float32}


@pytest.mark.parametrize("half", [False, True])
def test_the_export_denoises_as_the_model_does(tmp_path, half):
    model = build(test_sigmas=(0.1, 0.5)).eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    model.export(tmp_path / "denoiser", state, half)
    weights = load_file(tmp_path / "denoiser/unet/diffusion_pytorch_model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float16 if half else torch.float32}
    denoiser = DiffusersDenoiser(tmp_path / "denoiser", strategy="native")
    # No multiple of what the network divides by, which is 2 patches of 2 pixels.
    image = torch.rand(3, 9, 14)
    sample = SegDataSample(metainfo=dict(img_path="folder/a.png"))
    with torch.no_grad():
        (found,) = model((image * 2 - 1)[None], [sample], mode="predict")
        for sigma in (0.1, 0.5):
            noise = draw_noise(0, "a.png", "validation", 0, image.shape)
            clean = denoiser((image + sigma * noise)[None], sigma)[0]
            expected = -10 * math.log10((clean - image).square().mean().item())
            assert found.psnr[sigma] == pytest.approx(expected, abs=0.02 if half else 1e-3)
    assert DiffusersDenoiser(tmp_path / "denoiser").strategy.size == (8, 8)


def test_the_state_that_is_exported_is_the_one_that_is_given(tmp_path):
    model = build()
    state = {key: torch.full_like(value, 0.25) for key, value in model.state_dict().items()}
    for _ in range(2):  # a second export replaces the first
        model.export(tmp_path, state)
    weights = load_file(tmp_path / "unet/diffusion_pytorch_model.safetensors")
    assert all((weight == 0.25).all() for weight in weights.values())
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert found == {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    }


def test_images_are_normalized_as_diffusion_models_expect(mmseg_scope):
    model = MODELS.build(dict(type="DenoisingDiffusion", unet=dict(sample_size=32), scheduler={}))
    blue = torch.tensor([255, 0, 51], dtype=torch.uint8)[:, None, None].expand(3, 2, 2)
    found = model.data_preprocessor(dict(inputs=[blue], data_samples=[None]))["inputs"]
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor([-0.6, -1.0, 1.0]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(sigmas=(0.5, 0.1)), r"0 < low < high, got \(0.5, 0.1\)"),
        (dict(sigmas=(0.001, 0.1)), "level 0.002 is outside of the schedule's range"),
        (dict(test_sigmas=(100.0,)), "level 200 is outside of the schedule's range"),
        (dict(snr_weight=-1.0), "snr_weight must be a number of at least 0, got -1.0"),
        (dict(unet=dict(sample_size=5)), "sample_size must be a multiple of 2, .* got 5"),
        (dict(unet=dict(sample_size=None)), "sample_size must be a multiple of 2, .* got None"),
        (dict(unet=dict(in_channels=6)), "maps 6 to 12 channels"),
        (dict(kind="score"), "prediction"),
    ],
)
def test_models_that_cannot_be_trained(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_crops_of_another_size():
    with pytest.raises(ValueError, match="crops are 8x6, but the .* sample_size asks for 8x8"):
        build()(torch.zeros(1, 3, 8, 6))


def test_an_unknown_mode():
    with pytest.raises(ValueError, match="got 'tensor'"):
        build()(torch.zeros(1, 3, 8, 8), mode="tensor")


def test_a_diverged_training_names_the_learning_rate():
    with pytest.raises(FloatingPointError, match="the loss is nan.*lower the learning rate"):
        build()(torch.full((1, 3, 8, 8), math.nan))
