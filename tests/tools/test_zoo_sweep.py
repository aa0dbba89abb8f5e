"""tools/analysis_tools/zoo_sweep.py: every family in a process of its own, whatever it does."""

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import nn

from mmseg_lipcert.utils.cli import CommandLineError

TOOL = "analysis_tools/zoo_sweep.py"
ROOT = Path(__file__).parents[2]
#: Families that need more than MMSegmentation, and the modules that they need.
OPTIONAL = {
    "convnext": ["mmpretrain"],
    "poolformer": ["mmpretrain"],
    "ccnet": ["mmcv._ext"],
    "psanet": ["mmcv._ext"],
    "point_rend": ["mmcv._ext"],
    "san": ["mmcv._ext"],
    "maskformer": ["mmcv._ext", "mmdet"],
    "mask2former": ["mmcv._ext", "mmdet"],
}


@MODELS.register_module()
class SweptBackbone(BaseModule):
    """A convolution, and what can go wrong."""

    def __init__(self, behavior, init_cfg=None):
        super().__init__(init_cfg)
        self.behavior, self.calls = behavior, 0
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images):
        self.calls += 1
        if self.behavior == "fixed" and images.shape[2:] != (32, 32):
            raise ValueError("images must be 32x32")
        if self.behavior == "dies":
            os._exit(7)
        if self.behavior == "slow":
            time.sleep(600)
        if self.behavior == "large":
            torch.zeros(2**36, dtype=torch.uint8)
        sign = -1 if self.behavior == "stateful" and self.calls % 2 else 1
        return [sign * self.conv(images)]


@pytest.fixture
def sweep(project, tmp_path):
    """Sweep families of these behaviors; give the exit status and the last record of each.

    In a process of its own: the tool forks, which is safe only before PyTorch has started threads.
    """
    out, configs = tmp_path / "out", tmp_path / "configs"

    def write(behavior, **settings):
        config = Config.fromfile(project.config)
        config.model = dict(
            type="EncoderDecoder",
            data_preprocessor=dict(type="SegDataPreProcessor", mean=[0.0] * 3, std=[255.0] * 3),
            backbone=dict(
                type="SweptBackbone",
                behavior=behavior,
                init_cfg=dict(type="Pretrained", checkpoint="https://example.org/absent.pth"),
            ),
            decode_head=dict(
                type="FCNHead",
                in_channels=4,
                channels=4,
                num_convs=0,
                concat_input=False,
                num_classes=19,
            ),
            test_cfg=dict(mode="whole"),
            pretrained="https://example.org/absent.pth",
        )
        config.custom_imports = dict(imports=[__name__])
        config.update(settings)
        (configs / behavior).mkdir(parents=True, exist_ok=True)
        config.dump(configs / behavior / "toy_cityscapes.py")

    def run(*flags):
        options = ("--configs", configs, "--out", out, "--size", "32x48", "--memory", 32, *flags)
        command = map(str, (sys.executable, ROOT / "tools" / TOOL, *options))
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": paths}
        status = subprocess.run(
            list(command), env=environment, capture_output=True, check=False
        ).returncode
        lines = (out / "zoo.jsonl").read_text().splitlines()
        return status, {record["family"]: record for record in map(json.loads, lines)}

    run.write, run.out = write, out
    return run


def test_what_becomes_of_each_family(sweep):
    for behavior in ("works", "dies", "large"):
        sweep.write(behavior)
    sweep.write("fixed", crop_size=(32, 32))
    sweep.write("missing", custom_imports=dict(imports=["absent_package"]))
    sweep.write("unbuilt", model=dict(type="Unbuilt", decode_head=dict(type="mmdet.Head")))
    status, found = sweep()
    assert status == 0, "no failure is the certification's"
    stages = {family: record["stage"] for family, record in found.items()}
    assert stages == dict(
        works="", fixed="", missing="build", unbuilt="build", large="stock", dies="stock"
    )
    assert found["fixed"]["size"] == [32, 32] and found["works"]["size"] == [32, 48]
    assert found["missing"]["needs"] == ["absent_package"]
    assert found["unbuilt"]["needs"] == ([] if find_spec("mmdet") else ["mmdet"])
    assert "status 7" in found["dies"]["error"] and "memory" in found["large"]["error"]
    page = (sweep.out / "zoo.md").read_text()
    assert "**2 of 6 families that were tried are certified.**" in page
    assert "| works | `toy_cityscapes.py` | 32x48 | yes |" in page
    assert "| missing | `toy_cityscapes.py` | 32x48 | no: build | absent_package |" in page
    # Everything has its record; what failed is tried again on demand, what it needed is kept.
    lines = (sweep.out / "zoo.jsonl").read_text()
    sweep()
    assert (sweep.out / "zoo.jsonl").read_text() == lines
    sweep.write("missing")
    _, found = sweep("--retry", "--only", "missing", "works")
    assert (sweep.out / "zoo.jsonl").read_text().count("\n") == 7 and found["missing"][
        "stage"
    ] == ""
    page = (sweep.out / "zoo.md").read_text()
    assert "| missing | `toy_cityscapes.py` | 32x48 | yes | absent_package |" in page


def test_a_failure_of_ours_and_a_family_that_takes_too_long(sweep):
    sweep.write("stateful")
    status, found = sweep()
    assert status == 1 and found["stateful"]["stage"] == "certify"
    assert "keeps a state between calls" in found["stateful"]["error"]
    sweep.write("slow")
    _, found = sweep("--only", "slow", "--seconds", 0.5)
    assert "more than 0.5 s" in found["slow"]["error"] and found["slow"]["seconds"] < 60


def test_wrong_flags(sweep, run_tool, tmp_path, capsys):
    sweep.write("works")
    flags = ("--configs", tmp_path / "configs", "--out", tmp_path / "out")
    with pytest.raises(CommandLineError, match="--only absent: choose from works"):
        run_tool(TOOL, *flags, "--only", "absent")
    with pytest.raises(SystemExit):
        run_tool(TOOL, *flags, "--size", "512")
    assert "--size must be HEIGHTxWIDTH, such as 512x1024, got 512" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("family", OPTIONAL)
def test_families_that_need_optional_packages(tool_module, family):
    for module in OPTIONAL[family]:
        pytest.importorskip(module)
    tool = tool_module(TOOL)
    record = tool.try_config(tool.families([tool.INSTALLED])[family], (64, 128))
    assert record["error"] == record["stage"] == ""
