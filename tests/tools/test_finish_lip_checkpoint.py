import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmseg_lipcert.cli.model_converters.finish_lip_checkpoint import fit_shifts, score
from mmseg_lipcert.utils.cli import CommandLineError

TOOL = "model_converters/finish_lip_checkpoint.py"


@pytest.fixture(scope="module")
def config(project, tmp_path_factory):
    """The tiny project with its test images as the validation split."""
    folder = tmp_path_factory.mktemp("finish")
    path = folder / "config.py"
    path.write_text(
        f'_base_ = "{project.config.as_posix()}"\n'
        f'val_dataloader = dict(num_workers=0, dataset=dict(data_root="{project.folder}/scenes",\n'
        '    data_prefix=dict(img_path="leftImg8bit/test", seg_map_path="gtFine/test")))\n'
    )
    return path


def finished(run_tool, config, checkpoint, output, *options):
    with DefaultScope.overwrite_default_scope("mmseg"):
        assert run_tool(TOOL, config, checkpoint, output, *options) in (None, 0)
    checkpoint = torch.load(output, weights_only=True)
    names = checkpoint["meta"]["dataset_meta"]
    assert len(names["classes"]) == len(names["palette"]) and "road" in names["classes"]
    return checkpoint["state_dict"]


def test_only_the_bias_of_the_classifier_changes(run_tool, project, config, tmp_path, capsys):
    state = finished(run_tool, config, project.checkpoint, tmp_path / "new" / "out.pth")
    before = torch.load(project.checkpoint, weights_only=True)["state_dict"]
    changed = [key for key in before if not torch.equal(before[key], state[key])]
    assert changed == ["decode_head.conv_seg.conv.conv.bias"]
    first, second = capsys.readouterr().out.splitlines()[0].split(": ")[1].split(" -> ")
    assert float(second) > float(first)


def test_half_precision_without_shifts(run_tool, project, config, tmp_path):
    options = ("--half", "--no-shifts")
    state = finished(run_tool, config, project.checkpoint, tmp_path / "out.pth", *options)
    before = torch.load(project.checkpoint, weights_only=True)["state_dict"]
    for key, value in before.items():
        expected = value.half() if value.is_floating_point() else value
        assert torch.equal(state[key], expected)


def test_shifts_find_a_class_that_is_always_second():
    labels = torch.tensor([0, 0, 1, 1])
    logits = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.7], [1.0, 0.8]])
    shifts = fit_shifts(logits, labels)
    assert score(logits + shifts, labels) == 2.0


def test_other_models_are_refused(run_tool, project, tmp_path):
    config = Config.fromfile(project.config)
    config.model.type = "EncoderDecoder"
    config.dump(tmp_path / "plain.py")
    with pytest.raises(CommandLineError, match="no LipEncoderDecoder"):
        with DefaultScope.overwrite_default_scope("mmseg"):
            run_tool(TOOL, tmp_path / "plain.py", project.checkpoint, tmp_path / "out.pth")
