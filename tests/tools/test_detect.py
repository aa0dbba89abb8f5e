"""Certified detection from the command line, on scenes that a detector has not learned."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from mmseg_lipcert.certificates.detection import DenseDetector
from mmseg_lipcert.cli.detect import Certification
from mmseg_lipcert.utils.cli import CommandLineError

from .conftest import ROOT

TOOL = "analysis_tools/detect.py"
CONFIG = """
_base_ = [
    "{configs}/_base_/datasets/street_scenes.py",
    "{configs}/_base_/default_runtime.py",
]
model = dict(
    type="LipDetector",
    data_preprocessor=dict(
        type="SegDataPreProcessor", mean=[127.5] * 3, std=[255.0] * 3, bgr_to_rgb=True
    ),
    backbone=dict(type="LipShiftUNet", size="S"),
    decode_head=dict(
        type="LipDetectionHead",
        in_channels=64,
        channels=16,
        object_classes=[0, 2],
        min_pixels=20,
        layers_cfg=dict(norm_cfg=None, act_cfg=None),
        loss_decode=dict(type="TemperatureCrossEntropyLoss", temperature=10.0),
    ),
    test_cfg=dict(mode="whole"),
)
test_dataloader = dict(num_workers=0, dataset=dict(data_root="{data}"))
"""


@pytest.fixture(scope="module")
def detector(project, tmp_path_factory):
    """Config and checkpoint of a detector of roads and buildings with random weights."""
    folder = tmp_path_factory.mktemp("detector")
    config, checkpoint = folder / "detector.py", folder / "detector.pth"
    data = (project.folder / "scenes").as_posix()
    config.write_text(CONFIG.format(configs=(ROOT / "configs").as_posix(), data=data))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(Config.fromfile(config).model)
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    return config, checkpoint


@pytest.fixture
def everything_is_certain(monkeypatch):
    """A certificate that promises too much, of objects that are all found."""
    monkeypatch.setattr(DenseDetector, "object_radius", lambda *_: 0.3)
    detect = Certification.detect

    def found(self, data):
        boxes, objects = detect(self, data)
        return boxes, [{**thing, "found": True} for thing in objects]

    monkeypatch.setattr(Certification, "detect", found)


def test_results_table_and_pictures(run_tool, detector, tmp_path, capsys):
    out, show = tmp_path / "out", tmp_path / "show"
    status = run_tool(TOOL, *detector, "--eps", "0.1", "0.05", "--out", out, "--show-dir", show)
    assert status == 0
    result = json.loads((out / "detection.json").read_text())
    assert result["experimental"] and result["eps"] == [0.05, 0.1]
    audit = result["lipschitz"]
    assert 0 < audit["lower_bound"] <= audit["bound"] <= 1.01
    total, road, building = result["classes"]
    assert [row["class"] for row in result["classes"]] == ["all", "road", "building"]
    assert total["objects"] == road["objects"] + building["objects"] > 0
    assert total["objects"] == sum(len(row["objects"]) for row in result["images"])
    for row in result["classes"]:
        assert row["objects"] == 0 or row["recall"] >= max(row["certified"])
    assert len(result["images"]) == len(list(show.rglob("*.png"))) == 3
    assert "eps 0.05" in capsys.readouterr().out


def test_an_attack_that_beats_a_certificate_fails(
    run_tool, detector, everything_is_certain, tmp_path, capsys
):
    arguments = ("--eps", "0.2", "0.4", "--limit", "1", "--attack-steps", "1", "--out", tmp_path)
    assert run_tool(TOOL, *detector, *arguments) == 1
    result = json.loads((tmp_path / "detection.json").read_text())
    total = result["classes"][0]
    assert total["certified"] == [1, 0] and max(total["attacked"]) < 1
    printed = capsys.readouterr().out
    assert "lost at 0.2" in printed and "lost at 0.4" not in printed
    assert "under attack" in printed


def test_wrong_models_and_arguments_are_refused(run_tool, detector, project, tmp_path):
    config, checkpoint = detector
    out = ("--out", tmp_path)
    with pytest.raises(CommandLineError, match="no LipDetector"):
        run_tool(TOOL, project.config, project.checkpoint, *out)
    with pytest.raises(CommandLineError, match="missing"):
        run_tool(TOOL, config, project.checkpoint, *out)
    with pytest.raises(CommandLineError, match="needs a checkpoint"):
        run_tool(TOOL, config, "none", *out)
    with pytest.raises(CommandLineError, match="--limit must be at least 1, got 0"):
        run_tool(TOOL, config, checkpoint, "--limit", "0", *out)
    with pytest.raises(CommandLineError, match="--iou"):
        run_tool(TOOL, config, checkpoint, "--iou", "1.5", *out)


def test_resized_images_are_refused(run_tool, detector, tmp_path):
    config = detector[0].with_name("resized.py")
    text = (
        detector[0]
        .read_text()
        .replace(
            "test_dataloader = dict(num_workers=0, dataset=dict(",
            "test_dataloader = dict(num_workers=0, dataset=dict(pipeline=[\n"
            '    dict(type="LoadCheckedImage"), dict(type="LoadCheckedAnnotations"),\n'
            '    dict(type="Resize", scale=(32, 16)), dict(type="PackSegInputs")], ',
        )
    )
    config.write_text(text)
    with pytest.raises(CommandLineError, match="no resizing"):
        run_tool(TOOL, config, detector[1], "--out", tmp_path)


def test_label_map_certificates_refuse_a_detector(test_tool, detector, tmp_path):
    with pytest.raises(CommandLineError, match="lipcert detect"):
        test_tool(*detector, "--certify", "--out", tmp_path)


def test_attacks_of_labels_refuse_a_detector(run_tool, detector, tmp_path):
    with pytest.raises(CommandLineError, match="attack-steps"):
        run_tool("attack.py", *detector, "--eps", "0.1", "--out", tmp_path)
