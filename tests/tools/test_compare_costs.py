"""The comparison runs, and never finds a tighter cost below the looser one."""

import re

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS


def compare(run_tool, capsys, *arguments):
    run_tool("analysis_tools/compare_costs.py", *arguments)
    printed = capsys.readouterr().out
    ratios = [float(text) for text in re.findall(r"mean: ([0-9.]+)", printed)]
    return printed, ratios


def test_orthogonal_classifier(project, run_tool, capsys):
    printed, ratios = compare(run_tool, capsys, project.config, project.checkpoint, "--limit", 1)
    assert len(ratios) == 1 and ratios[0] >= 1
    assert "classifier is orthogonal" in printed


def test_free_classifier(project, tmp_path, run_tool, capsys):
    config = tmp_path / "free.py"
    config.write_text(
        f'_base_ = "{project.config.as_posix()}"\n'
        "model = dict(decode_head=dict(free_classifier=True))\n"
    )
    torch.manual_seed(1)
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(Config.fromfile(config).model)
    checkpoint = tmp_path / "free.pth"
    torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
    printed, ratios = compare(run_tool, capsys, config, checkpoint, "--limit", 1, "--eps", 0.1)
    assert len(ratios) == 2 and min(ratios) >= 1
    plain, aware = (
        float(re.search(rf"\| +{name} +\| +([0-9.]+)", printed).group(1))
        for name in ("plain", "classifier-aware")
    )
    assert aware >= plain


def test_only_lipschitz_segmentors(project, run_tool, capsys):
    from mmseg_lipcert.utils.cli import CommandLineError

    config = project.folder / "plain.py"
    config.write_text(
        f'_base_ = "{project.config.as_posix()}"\nmodel = dict(type="EncoderDecoder")\n'
    )
    with pytest.raises(CommandLineError, match="EncoderDecoder is not a LipEncoderDecoder"):
        compare(run_tool, capsys, config, project.checkpoint)
