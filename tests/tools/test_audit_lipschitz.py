"""tools/audit_lipschitz.py as users call it: the table, the JSON file and the exit status."""

import json
import runpy
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from mmseg_lipcert.lipschitz import interpolation_norm
from mmseg_lipcert.utils.cli import CommandLineError

TOOL = Path(__file__).parents[2] / "tools" / "audit_lipschitz.py"
IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
# An FCN of MMSegmentation's zoo, small: nothing in it is Lipschitz by construction.
FCN = """
crop_size = (64, 64)
norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(type="SegDataPreProcessor", bgr_to_rgb=True, {statistics}),
    backbone=dict(
        type="ResNetV1c", depth=18, base_channels=4, num_stages=4, out_indices=(0, 1, 2, 3),
        dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1), norm_cfg=norm_cfg, norm_eval=False,
    ),
    decode_head=dict(
        type="FCNHead", in_channels=32, in_index=3, channels=8, num_convs=2, concat_input=True,
        dropout_ratio=0.1, num_classes=4, norm_cfg=norm_cfg, align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss"),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
""".replace("{statistics}", ", ".join(f"{key}={value}" for key, value in IMAGENET.items()))


@pytest.fixture
def audit_tool(run_tool):
    """Run the tool in this process; return its exit status."""
    return partial(run_tool, "audit_lipschitz.py")


@pytest.fixture
def fcn(tmp_path):
    """Config file of the small FCN."""
    path = tmp_path / "fcn.py"
    path.write_text(FCN)
    return path


def random_checkpoint(config, path, seed=1):
    """Save random weights, with batch norm statistics that are not the initial ones."""
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(Config.fromfile(config).model)
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return model.eval()


def test_lipschitz_network(project, tmp_path, audit_tool, capsys):
    path = tmp_path / "audit.json"
    size = ("--size", 32, 64)
    assert audit_tool(project.config, project.checkpoint, *size, "--json", path) == 0
    result = json.loads(path.read_text())
    assert result["error"] is None
    assert (result["model"], result["checkpoint"]) == ("LipEncoderDecoder", "tiny.pth")
    assert result["map"] == "folded network up to its native logits"
    assert result["input_size"] == result["logit_size"] == [32, 64]
    assert result["preprocessing"] == pytest.approx(1, abs=1e-6)
    assert 0.5 < result["network_lower_bound"] <= result["network"] <= 1.01
    assert result["bound"] == result["preprocessing"] * result["network"]
    assert result["gap"] == result["network"] / result["network_lower_bound"]
    assert (result["samples"], result["sample_kind"]) == (1, "random")
    # The last 1x1 convolution runs as a product of matrices.
    kinds = ("conv", "baddbmm")
    convolutions = [
        layer for layer in result["layers"] if any(kind in layer["operation"] for kind in kinds)
    ]
    assert len(convolutions) == sum(
        isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))
        for module in project.model.eval().network.modules()
    )
    assert all(layer["bound"] <= 1.001 and layer["method"] for layer in convolutions)
    assert sum(abs(layer["share"]) for layer in result["layers"]) == pytest.approx(1)
    printed = capsys.readouterr().out
    assert f"{result['bound']:.8g} (from [0, 1] images" in printed
    assert "backbone.stem.conv" in printed and "kernel bound" in printed
    assert f"checkpoint {project.checkpoint}" in printed


def test_same_weights_give_the_bound_of_the_model(project, tmp_path, audit_tool):
    path = tmp_path / "audit.json"
    arguments = [project.config, project.checkpoint, "--size", 32, 64, "--samples", 0]
    assert audit_tool(*arguments, "--json", path) == 0
    result = json.loads(path.read_text())
    assert result["bound"] == project.model.eval().lipschitz_bound((32, 64))
    assert result["network_lower_bound"] is result["gap"] is result["sample_kind"] is None


def test_free_classifier_is_behind_the_audited_map(project, tmp_path, audit_tool):
    path = tmp_path / "audit.json"
    options = ["--cfg-options", "model.decode_head.free_classifier=True"]
    arguments = ["--size", 16, 16, "--samples", 0, "--json", path]
    assert audit_tool(project.config, *arguments, *options) == 0
    result = json.loads(path.read_text())
    assert result["map"] == "folded network up to the features of its classifier"
    assert result["bound"] <= 1.01
    assert not [layer for layer in result["layers"] if layer["shape"][1] == 19]


def test_random_weights_are_called_random(project, audit_tool, capsys):
    assert audit_tool(project.config, "--size", 16, 16, "--samples", 0) == 0
    printed = capsys.readouterr().out
    assert "random: no checkpoint was given" in printed
    assert "not measured" in printed


def test_zoo_network_has_a_finite_huge_bound(fcn, tmp_path, audit_tool, capsys):
    checkpoint, path = tmp_path / "fcn.pth", tmp_path / "audit.json"
    model = random_checkpoint(fcn, checkpoint)
    assert audit_tool(fcn, checkpoint, "--steps", 2, "--json", path) == 0
    result = json.loads(path.read_text())
    assert result["model"] == "EncoderDecoder"
    assert result["input_size"] == [64, 64] and result["logit_size"] == [8, 8], "crop_size"
    assert result["preprocessing"] == pytest.approx(255 / 57.12)
    assert 1 < result["network"] < float("inf")
    assert 0 < result["network_lower_bound"] <= result["network"]
    resize = interpolation_norm((8, 8), (64, 64), "bilinear", False)
    assert f"before the bilinear resize from 8x8 to 64x64, whose norm is {resize:.6g}" in (
        capsys.readouterr().out
    )
    images = torch.rand(2, 3, 64, 64)
    batch = dict(inputs=list(255 * images), data_samples=None)
    with torch.no_grad():
        logits = model(model.data_preprocessor(batch)["inputs"])
    assert (logits[0] - logits[1]).norm() <= result["bound"] * (images[0] - images[1]).norm()


def test_padding_and_sliding_windows(fcn, tmp_path, audit_tool, capsys):
    """The preprocessor's padding is part of the audited size; windows are not in the bound."""
    text = FCN.replace('mode="whole"', 'mode="slide", crop_size=(32, 32), stride=(16, 16)')
    fcn.write_text(text.replace("bgr_to_rgb=True", "test_cfg=dict(size_divisor=32)"))
    path = tmp_path / "audit.json"
    assert audit_tool(fcn, "--size", 24, 20, "--samples", 0, "--json", path) == 0
    assert json.loads(path.read_text())["input_size"] == [32, 32]
    assert "before overlapping windows are averaged" in capsys.readouterr().out


def test_operation_without_a_rule_is_named(fcn, tmp_path, audit_tool, capsys):
    fcn.write_text(
        FCN.replace(
            "num_classes=4, norm_cfg=norm_cfg",
            'num_classes=4, norm_cfg=dict(type="GN", num_groups=2)',
        )
    )
    path = tmp_path / "audit.json"
    assert audit_tool(fcn, "--json", path) == 1
    error = capsys.readouterr().err
    assert "aten::group_norm in module 'decode_head." in error and "no global bound" in error
    result = json.loads(path.read_text())
    assert result["bound"] is None and "aten::group_norm" in result["error"]


def test_a_preprocessor_that_does_not_normalize_is_refused(fcn, audit_tool):
    fcn.write_text(
        FCN.replace('"SegDataPreProcessor"', '"mmengine.BaseDataPreprocessor"')
        .replace(", bgr_to_rgb=True", "")
        .replace(", ".join(f"{key}={value}" for key, value in IMAGENET.items()), "")
    )
    with pytest.raises(CommandLineError, match="EncoderDecoder has no data_preprocessor"):
        audit_tool(fcn)


def test_weights_that_are_not_finite_have_no_bound(fcn, tmp_path, audit_tool):
    state = random_checkpoint(fcn, tmp_path / "fcn.pth").state_dict()
    state["decode_head.conv_seg.weight"][0, 0] = float("nan")
    torch.save(dict(state_dict=state, meta={}), tmp_path / "fcn.pth")
    with pytest.raises(CommandLineError, match="infinite values: decode_head.conv_seg.weight"):
        audit_tool(fcn, tmp_path / "fcn.pth", "--samples", 0)


def test_lower_bound_at_given_images(project, tmp_path, audit_tool):
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 256, (20, 28, 3), dtype=np.uint8))
    path = tmp_path / "audit.json"
    arguments = [project.config, project.checkpoint, "--steps", 2]
    assert audit_tool(*arguments, "--json", path, "--images", image) == 0
    result = json.loads(path.read_text())
    assert result["input_size"] == [20, 28]
    assert (result["samples"], result["sample_kind"]) == (1, "given")
    assert 0 < result["network_lower_bound"] <= result["network"]
    with pytest.raises(CommandLineError, match="20x28 pixels, the audit is for 32x64"):
        audit_tool(*arguments, "--size", 32, 64, "--images", image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.pth"], "checkpoint absent.pth does not exist"),
        (["--size", "0", "8"], "--size must be positive, got 0 8"),
        (["--samples", "-1"], "--samples must be at least 0, got -1"),
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--images", "absent.png"], "absent.png"),
        (["--json", "absent/audit.json"], "folder absent does not exist"),
        (["--cfg-options", "model.decode_head.type=Absent"], "cannot build the model.*Absent"),
    ],
)
def test_wrong_command_lines(project, audit_tool, arguments, message):
    with pytest.raises(CommandLineError, match=message):
        audit_tool(project.config, *arguments)


def test_checkpoint_must_fill_the_model(project, fcn, tmp_path, audit_tool):
    with pytest.raises(CommandLineError, match="does not fit the model.*missing.*unexpected"):
        audit_tool(fcn, project.checkpoint)
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(CommandLineError, match="text.pth cannot be read"):
        audit_tool(fcn, tmp_path / "text.pth")


def test_exit_status(project, monkeypatch, capsys):
    """A wrong command line is one line and status 2; 1 is kept for a model without a bound."""
    monkeypatch.setattr(sys, "argv", ["audit_lipschitz.py", str(project.config), "absent.pth"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: checkpoint absent.pth does not exist\n"
