"""A tiny project: three scenes, a network with random weights, its config and checkpoint."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from mmseg_lipcert.datasets.street_scenes import write_street_scenes

ROOT = Path(__file__).parents[2]
CONFIG = """
_base_ = [
    "{configs}/_base_/models/lip_unet.py",
    "{configs}/_base_/datasets/street_scenes.py",
    "{configs}/_base_/schedules/schedule_40e.py",
    "{configs}/_base_/default_runtime.py",
]
model = dict(
    backbone=dict(size="XS"),
    decode_head=dict(in_channels=32, channels=32, upsample_channels=(24, 20)),
)
test_dataloader = dict(num_workers=0, dataset=dict(data_root="{data}"))
"""


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """Folder, config and checkpoint of the tiny project; tests must not change them."""
    folder = tmp_path_factory.mktemp("project")
    write_street_scenes(folder / "scenes", dict(test=3), seed=0, size=(32, 64))
    config = folder / "tiny.py"
    config.write_text(
        CONFIG.format(configs=(ROOT / "configs").as_posix(), data=(folder / "scenes").as_posix())
    )
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(Config.fromfile(config).model)
    checkpoint = folder / "tiny.pth"
    torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
    return SimpleNamespace(folder=folder, config=config, checkpoint=checkpoint, model=model)


@pytest.fixture
def test_tool(monkeypatch, tmp_path):
    """Run tools/test.py in this process, in an empty work folder."""
    spec = importlib.util.spec_from_file_location("tools_test", ROOT / "tools" / "test.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*arguments):
        work = ["--work-dir", str(tmp_path / "work")]
        monkeypatch.setattr(sys, "argv", ["test.py", *map(str, arguments), *work])
        with DefaultScope.overwrite_default_scope("mmseg"):
            module.main()

    return run
