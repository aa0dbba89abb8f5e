import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from mmseg_lipcert.utils.cli import CommandLineError

TOOL = "model_converters/join_ensemble.py"


def run(run_tool, *arguments):
    with DefaultScope.overwrite_default_scope("mmseg"):
        assert run_tool(TOOL, *arguments) in (None, 0)


def test_the_joined_network_certifies_as_one(run_tool, project, tmp_path):
    model = (project.config, project.checkpoint)
    run(run_tool, tmp_path / "new" / "pair", *model, *model)
    config = Config.fromfile(tmp_path / "new" / "pair.py")
    with DefaultScope.overwrite_default_scope("mmseg"):
        pair = MODELS.build(config.model).eval()
        alone = MODELS.build(Config.fromfile(project.config).model).eval()
    pair.load_state_dict(torch.load(tmp_path / "new" / "pair.pth", weights_only=True)["state_dict"])
    alone.load_state_dict(torch.load(project.checkpoint, weights_only=True)["state_dict"])
    image = torch.rand(1, 3, 32, 64)
    torch.testing.assert_close(pair.network(image), alone.network(image))
    with DefaultScope.overwrite_default_scope("mmseg"):
        run_tool(
            "test.py",
            tmp_path / "new" / "pair.py",
            tmp_path / "new" / "pair.pth",
            "--certify",
            "--work-dir",
            tmp_path / "run",
        )
    (certificate,) = (tmp_path / "run").rglob("certificate.json")
    found = json.loads(certificate.read_text())
    assert found["method"] == "lipschitz" and found["cost"]["forward_passes_per_image"] == 2
    joined = (tmp_path / "new" / "pair.py", tmp_path / "new" / "pair.pth")
    with DefaultScope.overwrite_default_scope("mmseg"):
        assert run_tool("audit_lipschitz.py", *joined, "--size", 32, 64) == 0
        flags = ("--eps", 0.5, "--attack", "masked-ce", "--steps", 3, "--limit", 1)
        assert run_tool("attack.py", *joined, *flags, "--out", tmp_path / "attack") == 0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_half_a_pair_is_refused(run_tool, project, tmp_path, count):
    arguments = (project.config, project.checkpoint, project.config)[:count]
    with pytest.raises(CommandLineError, match="at least two pairs CONFIG CHECKPOINT"):
        run(run_tool, tmp_path / "pair", *arguments)
