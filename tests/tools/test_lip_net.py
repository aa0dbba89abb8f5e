"""Logits before and after conversion, against our own small model with the published names."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from orthogonium.layers import AdaptiveOrthoConv2d, AdaptiveOrthoConvTranspose2d, MaxMin
from orthogonium.layers.normalization import BatchCentering2D
from torch import nn

from mmseg_lipcert.utils.cli import CommandLineError

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "lip_net" / "lip-net_s_40e_camvid-360x480.py"
MEAN, STD = [0.4, 0.45, 0.5], [0.22, 0.25, 0.3]
CLASSES = 11


class Coefficient(nn.Module):
    """A layer times a number; the number goes into the constant."""

    def __init__(self, mod, learnable):
        super().__init__()
        self.mod = mod
        fans = mod.out_channels / mod.in_channels
        value = math.sqrt(1 / fans if isinstance(mod, nn.ConvTranspose2d) else fans)
        self.coeff = nn.Parameter(torch.tensor(value), requires_grad=learnable)

    def forward(self, state):
        x, constant = state
        return self.coeff * self.mod(x), constant * self.coeff.abs()


class Counted(nn.Module):
    """A layer of norm 1."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.register_buffer("lipconstant", torch.tensor(1.0))

    def forward(self, state):
        x, constant = state
        return self.module(x), constant * self.lipconstant


class Branches(nn.Module):
    """Concatenated layers, each times a share."""

    def __init__(self, modules, learnable):
        super().__init__()
        self.module_list = nn.ModuleList(modules)
        shares = [torch.tensor(len(modules) ** -0.5) for _ in modules]
        self.coeffs = nn.ParameterList(shares) if learnable else shares

    def forward(self, state):
        parts, squares = [], 0
        for share, module in zip(self.coeffs, self.module_list, strict=True):
            x, constant = module(state)
            parts.append(share * x)
            squares = squares + (share * constant) ** 2
        return torch.cat(parts, 1), squares**0.5


class PlainBranches(nn.ModuleList):
    """Concatenated layers over the root of their number."""

    def forward(self, x):
        return torch.cat([branch(x) for branch in self], 1) / len(self) ** 0.5


class Scale(nn.Module):
    """The normalization of onelip, with stored numbers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))


class Published(nn.Module):
    """The published network: the names of its weights and what it computes."""

    def __init__(self, klip, learnable=False, spectral=False, widths=(32, 64, 128), depth=3):
        super().__init__()
        conv, up = AdaptiveOrthoConv2d, AdaptiveOrthoConvTranspose2d
        if spectral:
            torchlip = pytest.importorskip("deel.torchlip")
            conv, up = torchlip.SpectralConv2d, torchlip.SpectralConvTranspose2d
        self.klip = klip
        one = Counted if klip else (lambda module: module)

        def layer(kind, *channels, **settings):
            made = kind(*channels, bias=settings.pop("bias", False), **settings)
            return Coefficient(made, learnable) if klip else made

        layers, previous = [], 3
        for width in widths:
            for stride in [2] + [1] * (depth - 1):
                layers.append(layer(conv, previous, width, kernel_size=3, stride=stride, padding=1))
                layers += [one(MaxMin()), one(BatchCentering2D(width))]
                previous = width
        self.encoder, self.aspp, out = nn.Module(), nn.Module(), widths[-1]
        self.encoder.encoder = nn.Sequential(*layers)
        branches = [layer(conv, out, out, kernel_size=1)]
        for d in (6, 12, 18):
            settings = dict(padding=d, dilation=d, padding_mode="zeros")
            branches.append(layer(conv, out, out, kernel_size=3, **settings))
        self.aspp.convs = Branches(branches, learnable) if klip else PlainBranches(branches)
        self.aspp.project = nn.Sequential(
            layer(conv, 4 * out, out, kernel_size=1), one(MaxMin()), one(BatchCentering2D(out))
        )
        layers = [layer(conv, out, out, kernel_size=3, padding=1), one(MaxMin())]
        for _ in widths:
            layers.append(layer(up, out, out // 2, kernel_size=2, stride=2))
            out //= 2
            layers += [one(MaxMin()), one(BatchCentering2D(out))]
        self.upsampling = nn.Sequential(*layers)
        self.classifier = layer(conv, out, CLASSES, kernel_size=1, bias=True)
        if not klip:
            self.input_norm = Scale()

    def forward(self, image):
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
        x = (image - mean) / std
        if self.klip:
            x = (x, torch.tensor(1 / min(STD)))
        x = self.aspp.project(self.aspp.convs(self.encoder.encoder(x)))
        x = self.classifier(self.upsampling(x))
        return x if self.klip else x / min(STD)


@pytest.fixture(scope="module")
def klip_state():
    torch.manual_seed(0)
    return Published(klip=True, learnable=True).state_dict()


@pytest.fixture
def convert(tmp_path, run_tool):
    def run(state, *options, config=CONFIG):
        checkpoint, output = tmp_path / "published.pth", tmp_path / "converted"
        torch.save(state, checkpoint)
        run_tool("model_converters/lip_net.py", config, checkpoint, output, *options)
        return output

    return run


def published(steps=3, **settings):
    """A network after a few steps of training, by which nothing keeps its initial value."""
    torch.manual_seed(0)
    network = Published(**settings)
    free = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(free, lr=0.02, momentum=0.5)
    for _ in range(steps):
        output = network(torch.rand(2, 3, 48, 64))
        logits = output[0] if network.klip else output
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, torch.randint(CLASSES, (2, 48, 64))).backward()
        optimizer.step()
    with torch.no_grad():  # Training makes power iterations converge; a few steps do not.
        for _ in range(30):
            network(torch.rand(2, 3, 48, 64))
    return network.eval()


def load(output):
    config = Config.fromfile(output / "config.py")
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(config.model)
    state = torch.load(output / "checkpoint.pth", weights_only=True)["state_dict"]
    model.load_state_dict(state, strict=True)
    return model.eval()


def converted_logits(model, image):
    """Logits of an RGB image in [0, 1] with whole gray levels, through the preprocessor."""
    bgr = (image[0].flip(0) * 255).round().to(torch.uint8)
    data = model.data_preprocessor(dict(inputs=[bgr]), training=False)
    return model.network(data["inputs"])


def gray_levels():
    return torch.randint(0, 256, (1, 3, 48, 64), generator=torch.Generator().manual_seed(1)) / 255


KLIP = ["--mean", *map(str, MEAN), "--std", *map(str, STD)]
LAYOUTS = {
    "klip": (dict(klip=True, learnable=True), KLIP),
    "rms": (dict(klip=True, learnable=False), KLIP),
    "onelip": (dict(klip=False), []),
    "spectral": (dict(klip=True, spectral=True), KLIP),
}


@pytest.mark.parametrize(
    "layout", [*list(LAYOUTS)[:-1], pytest.param("spectral", marks=pytest.mark.slow)]
)
def test_logits_and_constant(layout, convert, capsys):
    settings, options = LAYOUTS[layout]
    network = published(**settings)
    if layout == "klip":  # A sign that training may flip, and branches of unequal weight.
        network.encoder.encoder[3].coeff.data.neg_()
        network.aspp.convs.coeffs[1].data.mul_(3)
    model = load(convert(network.state_dict(), *options))
    image = gray_levels()
    with torch.no_grad():
        output = network(image)
        expected, constant = output if network.klip else (output, None)
        logits = converted_logits(model, image)
    assert torch.isfinite(expected).all() and expected.std() > 1e-5
    tolerance = 1e-4 * expected.abs().max().item()
    torch.testing.assert_close(logits, expected, atol=tolerance, rtol=0)

    bound = model.lipschitz_bound((48, 64))
    if layout in ("klip", "rms"):  # An orthogonal network: the product of coefficients is exact.
        assert bound == pytest.approx(constant.item(), rel=1e-2)
        assert f"computes with: {constant.item():.3f}"[:-1] in capsys.readouterr().out
    if layout == "onelip":  # Divided by std twice; the published evaluation takes 1.
        assert bound == pytest.approx(1 / min(STD) ** 2, rel=1e-2)
    # The audit, not the constant, is what a pair of images obeys.
    other = (image + 0.1 * torch.randn_like(image)).clamp(0, 1)
    with torch.no_grad():
        pair = network(other)
    moved = (pair[0] if network.klip else pair) - expected
    assert moved.norm() <= bound * (other - image).norm() * (1 + 1e-4)


@pytest.mark.slow
def test_another_size(convert, capsys):
    network = published(klip=True, steps=0, widths=(64, 128, 256, 512), depth=5)
    model = load(convert(network.state_dict(), *KLIP))
    assert "klip M2, 11 classes" in capsys.readouterr().out
    image = gray_levels()
    with torch.no_grad():
        expected, _ = network(image)
        torch.testing.assert_close(converted_logits(model, image), expected, atol=1e-2, rtol=1e-3)


def test_a_lie_about_the_constant_changes_nothing(convert):
    network = published(klip=True, steps=0)
    output = convert(network.state_dict(), *KLIP)
    bound = load(output).lipschitz_bound((48, 64))
    (output / "config.py").unlink(), (output / "checkpoint.pth").unlink(), output.rmdir()
    network.encoder.encoder[1].lipconstant.fill_(1e-3)
    assert load(convert(network.state_dict(), *KLIP)).lipschitz_bound((48, 64)) == bound


def test_checkpoint_of_several_gpus_inside_of_a_dict(convert):
    state = published(klip=False, steps=1).state_dict()
    state = {f"module.{key}": value for key, value in state.items()}
    model = load(convert(dict(state_dict=state, epoch=3)))
    assert np.allclose(model.data_preprocessor.std.flatten(), np.multiply(STD, 255))


def change(key, value):
    def apply(state):
        if value is None:
            state.pop(key)
        else:
            state[key] = value

    return apply


MISTAKES = {
    "missing": (change("aspp.project.2.bias", None), r"has no aspp.project.2.bias"),
    "left over": (change("decoder.weight", torch.ones(1)), r"without a place: decoder.weight"),
    "not finite": (
        change("aspp.project.2.bias", torch.full((1, 128, 1, 1), math.nan)),
        r"aspp.project.2.bias of the checkpoint is not finite",
    ),
    "shape": (
        change("upsampling.0.parametrizations.weight.original", torch.ones(1, 6, 4, 2)),
        r"upsampling.0 does not fit a layer of the installed orthogonium",
    ),
    "centering": (
        change("aspp.project.2.running_mean", torch.zeros(1, 7, 1, 1)),
        r"running_mean has 7 entries, its layer 128",
    ),
    "depth": (change("encoder.encoder.26.bias", None), r"which is none of S: 3 x \(32, 64, 128\)"),
    "std": (change("input_norm.std", torch.zeros(1, 3, 1, 1)), r"std must be positive"),
    "classes": (change("classifier.bias", torch.ones(19)), r"19 classes, the config 11"),
    "name": (change(0, torch.ones(1)), r"names of weights must be text, one is 0"),
    "mean of two": (change("input_norm.mean", torch.ones(2)), r"input_norm.mean must have 1 or 3"),
    "no std": (change("input_norm.std", torch.ones(0)), r"input_norm.std must have 1 or 3 .*got 0"),
    "tiny std": (
        change("input_norm.std", torch.full((3,), 1e-40)),
        r"input_norm.std must be positive and 1 / std finite .* got \[9.99.*e-41",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_does_not_fit_is_named(mistake, convert, tmp_path):
    apply, message = MISTAKES[mistake]
    torch.manual_seed(0)
    state = Published(klip=False).state_dict()
    apply(state)
    with pytest.raises(CommandLineError, match=message):
        convert(state)
    assert not (tmp_path / "converted").exists()


FIRST = "encoder.encoder.0.mod.parametrizations.weight_1.original"
KINDS = {
    "int32": torch.Tensor.int,
    "complex64": lambda weight: weight.to(torch.complex64),
    "qint8": lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
    "sparse_coo": torch.Tensor.to_sparse,
    "float8_e4m3fn": lambda weight: weight.to(torch.float8_e4m3fn),
    "meta": lambda weight: weight.to("meta"),
    "nested": lambda weight: torch.nested.nested_tensor([weight[0], weight[0]]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_dense_floats(kind, klip_state, convert):
    with pytest.raises(CommandLineError, match=rf"{FIRST} .* dense tensor.*{kind}"):
        convert(klip_state | {FIRST: KINDS[kind](klip_state[FIRST])}, *KLIP)


COEFFICIENTS = {
    "encoder.encoder.0.coeff": (torch.ones(2), r"one number .* \[1.0, 1.0\] of shape \(2,\)"),
    "encoder.encoder.1.lipconstant": (torch.ones(2), r"must be one number"),
    "aspp.convs.coeffs.0": (torch.ones(2), r"must be one number"),
    "classifier.coeff": (torch.zeros(()), r"one number that is not 0 .* got \[0.0\]"),
    "aspp.convs.coeffs.1": (torch.tensor(1e-300, dtype=torch.float64), r"got \[1e-300\]"),
    "encoder.encoder.3.coeff": (
        torch.tensor(1e300, dtype=torch.float64),
        r"not finite in float32: 1e\+300",
    ),
    "upsampling.0.coeff": (torch.tensor(1 + 2j), r"dense tensor of floats .*complex64"),
}


@pytest.mark.parametrize("key", COEFFICIENTS)
def test_coefficients_are_numbers(key, klip_state, convert, tmp_path):
    value, message = COEFFICIENTS[key]
    with pytest.raises(CommandLineError, match=f"{key} of the checkpoint .*{message}"):
        convert(klip_state | {key: value}, *KLIP)
    assert not (tmp_path / "converted").exists()


def test_products_of_coefficients_that_leave_float32(klip_state, convert, tmp_path):
    found = {key: torch.tensor(1e30) for key in klip_state if re.match("aspp.convs.*coeff", key)}
    assert len(found) == 8
    with pytest.raises(CommandLineError, match="network has no bound: "):
        convert(klip_state | found, *KLIP)
    assert not (tmp_path / "converted").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--mean", "inf", r"--mean must be finite, .* got \[inf, "),
        ("--mean", "1e38", r"--mean must be finite, also 255 times as large, got \[1e\+38, "),
        ("--std", "nan", r"--std must be finite, .* got \[nan, "),
        ("--std", "-1", r"--std must be positive .* got \[-1.0, "),
        ("--std", "1e-40", r"--std must be positive .* got \[1e-40, "),
    ],
)
def test_normalization_from_the_command_line(option, value, message, klip_state, convert):
    with pytest.raises(CommandLineError, match=message):
        convert(klip_state, *KLIP, option, value, "0.4", "0.4")


def test_one_mean_and_std_for_all_channels(convert):
    state = Published(klip=False).state_dict()
    state |= {"input_norm.mean": torch.tensor(0.5), "input_norm.std": torch.tensor([0.25])}
    preprocessor = load(convert(state)).data_preprocessor
    assert preprocessor.mean.flatten().tolist() == [127.5] * 3
    assert preprocessor.std.flatten().tolist() == [63.75] * 3


def test_klip_does_not_hold_the_normalization(convert):
    torch.manual_seed(0)
    with pytest.raises(CommandLineError, match="does not hold the mean and std"):
        convert(Published(klip=True).state_dict(), "--mean", *map(str, MEAN))


def test_other_config_and_other_mean(convert):
    torch.manual_seed(0)
    state = Published(klip=False).state_dict()
    with pytest.raises(CommandLineError, match="builds LipUNet and LipFCNHead"):
        convert(state, config=ROOT / "configs/lip_unet/lip-unet_m_44e_camvid-240x320.py")
    with pytest.raises(CommandLineError, match=r"--mean \[0.1, 0.1, 0.1\], but the checkpoint"):
        convert(state, "--mean", "0.1", "0.1", "0.1")
