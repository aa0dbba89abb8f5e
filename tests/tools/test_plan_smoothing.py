"""tools/analysis_tools/plan_smoothing.py: what is predicted, and from which images."""

import pytest
import torch
from mmengine.config import Config

from mmseg_lipcert.datasets.street_scenes import write_street_scenes
from mmseg_lipcert.utils.cli import CommandLineError

TOOL = "analysis_tools/plan_smoothing.py"


@pytest.fixture(scope="module")
def config(project, tmp_path_factory):
    """The tiny project with training images of its own; validation images are the tested ones."""
    folder = tmp_path_factory.mktemp("plan")
    write_street_scenes(folder / "scenes", dict(train=4), seed=1, size=(32, 64))
    config = Config.fromfile(project.config)
    config.train_dataloader.dataset.data_root = str(folder / "scenes")
    config.val_dataloader = config.test_dataloader
    config.dump(folder / "plan.py")
    return folder / "plan.py"


def test_accuracy_and_cost_are_predicted_from_images_that_are_not_certified(
    run_tool, project, config, capsys
):
    options = ["--sigma", "0.05", "0.1", "--tau", "0.6", "0.75", "--n", "30", "60", "61"]
    run_tool(TOOL, config, project.checkpoint, *options, "--draws", "12", "--images", "2")
    printed = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()]
    rows = [row for row in rows if len(row) == 8 and row[0] != "sigma"]
    # 60 and 61 draws lie on one plateau: it is listed once.
    assert len(rows) == len({tuple(row[:5]) for row in rows}) < 2 * 2 * 2 * 3
    assert {row[0] for row in rows} == {"0.05", "0.1"} and {row[1] for row in rows} == {
        "0.6",
        "0.75",
    }
    for row in rows:
        assert 0 <= float(row[5]) <= 100 and 0 <= float(row[6]) <= 100 and float(row[7]) >= 0
    (looked,) = [line for line in printed.splitlines() if line.startswith("Looked at: ")]
    assert looked.count("plan") == 2 and "train" in looked


def test_a_network_in_a_file_behind_a_denoiser_of_a_config(
    run_tool, config, pointwise_file, tmp_path, capsys
):
    weight = torch.randn(19, 3, generator=torch.Generator().manual_seed(0))
    planned = Config.fromfile(config)
    planned.model = dict(
        type="OnnxSegmentor",
        path=str(pointwise_file(weight)),
        num_classes=19,
        data_preprocessor=dict(type="SegDataPreProcessor", mean=[0.0] * 3, std=[255.0] * 3),
    )
    planned.dump(tmp_path / "file.py")
    denoiser = tmp_path / "denoiser.py"
    denoiser.write_text('denoiser = dict(type="NonLocalMeansDenoiser")')
    options = ["--sigma", "0.05", "--n", "60", "--draws", "12", "--images", "1"]
    run_tool(TOOL, tmp_path / "file.py", "none", *options, "--denoiser", denoiser)
    assert "Looked at: " in capsys.readouterr().out
    denoiser.write_text("")
    with pytest.raises(CommandLineError, match="does not define `denoiser = dict"):
        run_tool(TOOL, tmp_path / "file.py", "none", *options, "--denoiser", denoiser)


def test_images_that_would_be_certified_are_refused(run_tool, project, config):
    with pytest.raises(CommandLineError, match="no val dataset of .* besides those of the test"):
        run_tool(TOOL, config, project.checkpoint, "--split", "val")
