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
from mmseg_lipcert.utils.cli import CommandLineError
from mmseg_lipcert.utils.failures import user_line

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


def load_tool(name):
    """The script ``tools/<name>`` as a module."""
    path = ROOT / "tools" / name
    spec = importlib.util.spec_from_file_location(f"tool_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tool_module():
    """Load the script ``tools/<name>`` as a module."""
    return load_tool


@pytest.fixture
def run_tool(monkeypatch):
    """Run ``tools/<name>`` in this process with these arguments; return its exit status.

    What the tool would show as one line is raised as a CommandLineError with that line.
    """

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        try:
            return load_tool(name).main.__wrapped__()
        except Exception as error:
            line = user_line(error)
            if line is None:
                raise
            raise CommandLineError(line) from error

    return run


@pytest.fixture
def test_tool(run_tool, tmp_path):
    """Run tools/test.py in this process, in an empty work folder."""

    def run(*arguments):
        with DefaultScope.overwrite_default_scope("mmseg"):
            run_tool("test.py", *arguments, "--work-dir", tmp_path / "work")

    return run
