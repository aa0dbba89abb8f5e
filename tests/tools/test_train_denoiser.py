"""tools/train_denoiser.py on a dataset of three tiny pictures."""

import sys
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file

from mmseg_lipcert.utils.cli import CommandLineError

ROOT = Path(__file__).parents[2]
CONFIG = """
default_scope = "mmseg"
dataset = dict(
    type="BaseSegDataset",
    data_root="data",
    data_prefix=dict(img_path="images", seg_map_path="labels"),
    img_suffix=".png",
    metainfo=dict(classes=("one",), palette=[[0] * 3]),
    pipeline=[dict(type="LoadImageFromFile")],
)
train_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
"""
TINY = ("--batch", "2", "--crop", "16", "--channels", "8", "8", "--workers", "0")


@pytest.fixture(scope="module")
def tool(tool_module):
    """The script, as a module."""
    return tool_module("train_denoiser.py")


@pytest.fixture
def run(tool, tmp_path, monkeypatch):
    """Call the tool as from the command line, in a folder with a config and its data."""
    monkeypatch.chdir(tmp_path)
    Path("config.py").write_text(CONFIG)
    for number in range(3):
        color = np.full((24, 32, 3), 50 * number, np.uint8)
        mmcv.imwrite(color, f"data/images/{number}.png")

    def call(*arguments: str) -> None:
        command = ["train_denoiser.py", "config.py", "--work-dir", "run", *TINY, *arguments]
        monkeypatch.setattr(sys, "argv", command)
        tool.main()

    return call


def test_the_work_folder_is_a_model_of_diffusers(run, capsys):
    run("--steps", "4", "--print-every", "2")
    assert UNet2DModel.from_pretrained("run/unet").config.sample_size == 16
    assert DDPMScheduler.from_pretrained("run/scheduler").config.prediction_type == "v_prediction"
    assert isinstance(DDPMPipeline.from_pretrained("run").unet, UNet2DModel)
    # Three pictures at three levels; clean, noisy and denoised side by side.
    assert mmcv.imread("run/samples.png").shape == (9 * 24, 3 * 32, 3)
    printed = capsys.readouterr().out
    assert "M parameters, 3 images, from step 0 on" in printed
    assert "step 2 (50.0%)" in printed and "min left" in printed
    assert "step 4 (100.0%)" in printed
    for sigma in (0.1, 0.25, 0.5):
        assert f"sigma {sigma:g}: " in printed


def test_an_interrupted_training_is_resumed_exactly(run, tool, monkeypatch):
    run("--steps", "5", "--work-dir", "whole")

    def interrupt(trainer):
        if trainer.step == 4:
            raise KeyboardInterrupt
        save(trainer)

    save = tool.DenoiserTrainer.save_checkpoint
    monkeypatch.setattr(tool.DenoiserTrainer, "save_checkpoint", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run("--steps", "5", "--save-every", "2")
    monkeypatch.setattr(tool.DenoiserTrainer, "save_checkpoint", save)
    # What was trained so far can already be used.
    first = UNet2DModel.from_pretrained("run/unet").state_dict()
    run("--steps", "5", "--resume")
    whole, resumed = (
        UNet2DModel.from_pretrained(f"{folder}/unet").state_dict() for folder in ("whole", "run")
    )
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert not all(torch.equal(first[key], resumed[key]) for key in whole)


def test_a_time_limit(run, capsys):
    run("--minutes", "0.001")
    assert "(100.0%)" in capsys.readouterr().out
    assert Path("run/unet/config.json").is_file()


def test_a_model_in_half_precision(run):
    run("--steps", "1", "--half")
    weights = load_file("run/unet/diffusion_pytorch_model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float16}
    assert UNet2DModel.from_pretrained("run/unet").dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--crop", "15"), "crop must be a multiple of 2 with 2 resolutions, got 15"),
        (("--steps", "0"), "steps must be positive, got 0"),
        (("--device", "quantum"), "cannot use --device quantum: "),
        (("--resume",), "run/training.pth does not exist: start without --resume"),
        (
            ("--cfg-options", "train_dataloader.dataset.data_root=absent"),
            "cannot read the images of train_dataloader: .*absent/images",
        ),
        (("--cfg-options", "test_dataloader.dataset.img_suffix=.x"), "test_dataloader has no imag"),
        (("--work-dir", "config.py"), "work folder config.py is a file"),
    ],
)
def test_mistakes_in_the_arguments(run, arguments, message):
    with pytest.raises(CommandLineError, match=message):
        run(*arguments)
    assert not Path("run").exists()


def test_a_finished_training_is_not_overwritten(run):
    run("--steps", "1")
    with pytest.raises(CommandLineError, match="go on with --resume, or choose another --work-dir"):
        run("--steps", "1")
    reason = "steps was 1, now 2; resume with the old settings, or train anew .* learning rate"
    with pytest.raises(CommandLineError, match=reason):
        run("--steps", "2", "--resume")


def test_a_config_without_training_data(run):
    Path("config.py").write_text(CONFIG + "\ndel train_dataloader\n")
    with pytest.raises(CommandLineError, match="config.py has no train_dataloader"):
        run()


def test_a_config_without_unseen_images(run):
    Path("config.py").write_text(CONFIG + "\ndel test_dataloader\n")
    with pytest.raises(CommandLineError, match="config.py has no test_dataloader or val_dataload"):
        run()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_broken_image_is_named_in_one_line(run, workers):
    for number in range(3):
        Path(f"data/images/{number}.png").write_text("no picture")
    with pytest.raises(CommandLineError) as caught:
        run("--steps", "1", "--workers", workers)
    assert str(caught.value).endswith(".png")
    assert len(str(caught.value).splitlines()) == 1


def test_a_diverging_training_names_the_learning_rate(run):
    with pytest.raises(CommandLineError, match="the loss of step .*; try a lower --lr than 1e.30"):
        run("--lr", "1e30", "--steps", "300")


@pytest.mark.parametrize("flag", ["--save-every", "--print-every"])
def test_intervals_are_positive(run, flag, capsys):
    with pytest.raises(SystemExit):
        run(flag, "0")
    assert f"{flag} must be at least 1, got 0" in capsys.readouterr().err
