"""The tiny projects of the command-line tests, certified from Python too."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from ..tools.conftest import project, run_tool, test_tool  # noqa: F401
from ..tools.test_test_smoothing import plain  # noqa: F401


@pytest.fixture
def by_tool(test_tool, tmp_path):  # noqa: F811
    """Certify by tools/test.py; give maps and entries of the images by name."""

    def run(config, checkpoint, *arguments, out="out"):
        test_tool(config, checkpoint, "--certify", *arguments, "--out", tmp_path / out)
        lines = (tmp_path / out / "images.0.jsonl").read_text().splitlines()
        entries = {entry["image"]: entry for entry in map(json.loads, filter(None, lines))}
        folder = tmp_path / out / "certificates"
        maps = {name: dict(np.load(folder / f"{name}.npz")) for name in entries}
        return SimpleNamespace(entries=entries, maps=maps)

    return run


@pytest.fixture(scope="session")
def scenes(project):  # noqa: F811
    """Image file, label file and pixels (BGR) of each scene of the project, by name."""
    root = project.folder / "scenes"
    found = {}
    for path in sorted((root / "leftImg8bit" / "test").rglob("*.png")):
        label = str(path).replace("leftImg8bit", "gtFine")
        label = label.replace("_gtFine.png", "_gtFine_labelTrainIds.png")
        name = path.relative_to(root / "leftImg8bit" / "test").with_suffix("").as_posix()
        found[name] = SimpleNamespace(path=path, label=label, pixels=cv2.imread(str(path)))
    assert len(found) == 3
    return found


@pytest.fixture(scope="session")
def variant(project, tmp_path_factory):  # noqa: F811
    """Config and random checkpoint of the project's Lipschitz network with other settings."""

    def make(edit=lambda config: None, seed=1, **settings):
        config = Config.fromfile(project.config)
        config.merge_from_dict(settings)
        edit(config)
        folder = tmp_path_factory.mktemp("variant")
        config.dump(folder / "variant.py")
        torch.manual_seed(seed)
        with DefaultScope.overwrite_default_scope("mmseg"):
            model = MODELS.build(config.model)
        torch.save(dict(state_dict=model.state_dict(), meta={}), folder / "variant.pth")
        return folder / "variant.py", folder / "variant.pth"

    return make
