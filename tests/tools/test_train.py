"""tools/train.py on a dataset of four tiny images."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn
from torch.nn.utils.parametrizations import orthogonal

from mmseg_lipcert.cli import train
from mmseg_lipcert.models.denoisers import DiffusersDenoiser
from mmseg_lipcert.utils.user_error import UserError

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "train.py"

CONFIG = """
default_scope = "mmseg"
custom_imports = dict(imports=["mmseg_lipcert.registration"])
dataset = dict(
    type="BaseSegDataset",
    data_root="data",
    data_prefix=dict(img_path="images", seg_map_path="labels"),
    img_suffix=".png",
    metainfo=dict(classes=("dark", "bright", "other"), palette=[[0] * 3, [255] * 3, [127] * 3]),
    pipeline=[
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations"),
        dict(type="RandomFlip", prob=0.5),
        dict(type="PackSegInputs"),
    ],
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dataset,
)
train_cfg = dict(type="IterBasedTrainLoop", max_iters=2, val_interval=100)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[127.5] * 3,
        std=[127.5] * 3,
        size=(16, 16),
        seg_pad_val=255,
    ),
    backbone=dict(
        type="UNet",
        base_channels=2,
        num_stages=2,
        strides=(1, 1),
        enc_num_convs=(1, 1),
        dec_num_convs=(1,),
        downsamples=(True,),
        enc_dilations=(1, 1),
        dec_dilations=(1,),
    ),
    decode_head=dict(
        type="FCNHead",
        in_channels=2,
        channels=2,
        in_index=-1,
        num_convs=0,
        concat_input=False,
        num_classes=3,
        loss_decode=dict(type="TemperatureCrossEntropyLoss", temperature=2.0),
    ),
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=0.01))
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=1),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2),
)
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
"""
# What makes a denoiser's training of it: crops of 8x8 pixels and no labels.
DENOISER = """
dataset["pipeline"] = [
    dict(type="LoadCheckedImage"),
    dict(type="CheckedRandomCrop", crop_size=(8, 8)),
    dict(type="PackSegInputs"),
]
model = dict(
    type="DenoisingDiffusion",
    unet=dict(
        sample_size=8,
        block_out_channels=(4,),
        layers_per_block=1,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        add_attention=False,
        norm_num_groups=2,
    ),
    scheduler=dict(),
)
train_cfg["val_interval"] = 2
val_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(dataset, pipeline=[dict(type="LoadCheckedImage"), dict(type="PackSegInputs")]),
)
val_cfg = dict(type="ValLoop")
val_evaluator = dict(type="DenoisingMetric")
custom_hooks = [dict(type="EMAHook"), dict(type="ExportDenoiserHook")]
"""


@pytest.fixture
def config_path(tmp_path, monkeypatch):
    """A config in a folder with its data, which becomes the current one."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for index in range(4):
        labels = random.integers(0, 2, (16, 16), dtype=np.uint8)
        cv2.imwrite(f"data/labels/{index}.png", labels)
        cv2.imwrite(f"data/images/{index}.png", np.stack([labels * 255] * 3, axis=-1))
    path = tmp_path / f"{tmp_path.name}.py"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def run(config_path, monkeypatch):
    """Call the tool as from the command line, but let it raise its errors."""

    def call(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["train.py", str(config_path), *arguments])
        train.main.__wrapped__()

    return call


def load(folder: str, iteration: int) -> dict:
    return torch.load(f"{folder}/iter_{iteration}.pth", weights_only=False)


def test_training_writes_checkpoints_and_logs_with_an_eta(run, config_path):
    run("--cfg-options", "train_cfg.max_iters=4")
    folder = Path("work_dirs", config_path.stem)
    checkpoint = load(str(folder), 4)
    assert checkpoint["meta"]["iter"] == 4
    assert "backbone.encoder.0.0.convs.0.conv.weight" in checkpoint["state_dict"]
    (log,) = folder.glob("*/*.log")
    text = log.read_text()
    assert "eta: " in text
    assert "decode.loss_ce: " in text


def test_the_seed_fixes_the_result(run):
    for name, seed in (("first", 1), ("second", 1), ("third", 2)):
        run("--work-dir", name, "--cfg-options", f"randomness.seed={seed}")
    first, second, third = (load(name, 2)["state_dict"] for name in ("first", "second", "third"))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], third[key]) for key in first)


def test_resume_goes_on_where_training_stopped(run):
    run("--work-dir", "run")
    run("--work-dir", "run", "--resume", "--cfg-options", "train_cfg.max_iters=4")
    checkpoint = load("run", 4)
    assert checkpoint["meta"]["iter"] == 4
    # Four steps of the optimizer: its state went on too.
    assert checkpoint["optimizer"]["state"][0]["step"] == 4


def test_a_denoiser_is_trained_validated_exported_and_resumed(run, config_path):
    config_path.write_text(CONFIG + DENOISER)
    run("--work-dir", "run")
    image = torch.rand(1, 3, 10, 14)
    first = DiffusersDenoiser("run/denoiser")(image, 0.25)
    (log,) = Path("run").glob("*/*.log")
    assert "denoising/psnr@0.25: " in log.read_text()
    run("--work-dir", "run", "--resume", "--cfg-options", "train_cfg.max_iters=4")
    checkpoint = load("run", 4)
    assert checkpoint["optimizer"]["state"][0]["step"] == 4
    assert checkpoint["ema_state_dict"]["steps"] == 4
    assert not torch.equal(DiffusersDenoiser("run/denoiser")(image, 0.25), first)


def test_crops_larger_than_the_images(run, config_path):
    config_path.write_text(CONFIG + DENOISER.replace("(8, 8)", "(8, 20)"))
    with pytest.raises(UserError, match=r"train_dataloader.*image data/images/0.png is 16x"):
        run()


def test_resume_without_a_checkpoint_says_so_and_starts(run, monkeypatch):
    messages = []
    monkeypatch.setattr(train, "print_log", lambda message, *_: messages.append(message))
    run("--work-dir", "run", "--resume")
    assert messages == ["--resume: no checkpoint in run, training starts from scratch"]
    assert load("run", 2)["meta"]["iter"] == 2


def test_resume_with_a_lost_checkpoint(run):
    Path("run").mkdir()
    Path("run/last_checkpoint").write_text("run/iter_2.pth")
    with pytest.raises(UserError, match=r"run/iter_2.pth \(last_checkpoint of run\) does"):
        run("--work-dir", "run", "--resume")


def test_a_missing_checkpoint_to_start_from(run):
    with pytest.raises(UserError, match=r"absent.pth \(load_from\) does not exist"):
        run("--cfg-options", "load_from=absent.pth")


@pytest.mark.parametrize("key", ["train_dataloader", "model"])
def test_an_incomplete_config(run, config_path, key):
    config_path.write_text(CONFIG + f"\ndel {key}\n")
    with pytest.raises(UserError, match=f"cannot be trained: no {key}"):
        run()


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ("optim_wrapper.optimizer.momentum=0.9", "optim_wrapper .* argument 'momentum'"),
        ("param_scheduler.type=PolyLr", "param_scheduler .*PolyLr is not in"),
    ],
)
def test_wrong_settings_of_the_optimizer(run, option, part):
    with pytest.raises(UserError, match=f"cannot build {part}"):
        run("--cfg-options", option)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: labels * 38, r"labels of shape \(1, 16, 16\) with the values \[0, 38\]"),
        (lambda labels: np.stack([labels] * 3, -1), r"of shape \(16, 16, 3\) .*one channel"),
    ],
)
def test_labels_that_are_no_classes(run, change, message):
    for path in Path("data/labels").iterdir():
        cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))
    with pytest.raises(UserError, match=f"images/0.png and data/labels/0.png: .*{message}"):
        run()


def test_masks_of_0_and_255_are_noticed(run, monkeypatch):
    said = []
    monkeypatch.setattr(train, "warn_about_one_class", lambda *found: said.append(found))
    run()
    assert not said
    for path in Path("data/labels").iterdir():
        cv2.imwrite(str(path), 255 * cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    run("--work-dir", "other")
    assert said == [([0], 3, 255)]


def test_missing_data(run):
    with pytest.raises(UserError, match="dataset of train_dataloader .*absent/images"):
        run("--cfg-options", "train_dataloader.dataset.data_root=absent")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_checkpoint_without_space(config_path, monkeypatch, capsys):
    folder = Path("run")
    folder.mkdir()
    (folder / "iter_2.pth").symlink_to("/dev/full")
    arguments = ["--work-dir", "run", "--cfg-options", "train_cfg.max_iters=2"]
    monkeypatch.setattr(sys, "argv", ["train.py", str(config_path), *arguments])
    assert train.main() == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert "error: " in error and "space" in error


def test_missing_validation_data(run, config_path):
    config_path.write_text(
        CONFIG
        + """
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(**{**dataset, "data_root": "absent"}),
)
val_cfg = dict(type="ValLoop")
val_evaluator = dict(type="IoUMetric")
"""
    )
    with pytest.raises(UserError, match="dataset of val_dataloader .*absent/images"):
        run()


@pytest.mark.parametrize("serialize", [True, False])
def test_an_empty_dataset(run, serialize):
    for image in Path("data/images").iterdir():
        image.unlink()
    with pytest.raises(UserError, match="dataset of train_dataloader has no images"):
        run("--cfg-options", f"train_dataloader.dataset.serialize_data={serialize}")


def test_amp_needs_an_accelerator(run, monkeypatch):
    monkeypatch.setattr(train, "get_device", lambda: "cpu")
    with pytest.raises(UserError, match="--amp needs a GPU .*, found cpu"):
        run("--amp")


def test_amp_needs_a_plain_optimizer_wrapper(run):
    with pytest.raises(UserError, match="the config has OtherWrapper"):
        run("--amp", "--cfg-options", "optim_wrapper.type=OtherWrapper")


@pytest.mark.parametrize("wrapper", ["OptimWrapper", "AmpOptimWrapper"])
def test_amp_changes_the_optimizer_wrapper(monkeypatch, wrapper):
    monkeypatch.setattr(train, "get_device", lambda: "cuda")
    config = Config({"optim_wrapper": {"type": wrapper, "loss_scale": 512.0}})
    train.enable_amp(config)
    assert config.optim_wrapper == {"type": "AmpOptimWrapper", "loss_scale": 512.0}


def test_amp_warns_about_constrained_layers(monkeypatch):
    messages = []
    monkeypatch.setattr(train, "print_log", lambda message, *_: messages.append(message))
    train.warn_about_amp(nn.Sequential(nn.Conv2d(2, 2, 1), nn.Linear(2, 2)))
    assert not messages
    train.warn_about_amp(nn.Sequential(nn.Conv2d(2, 2, 1), orthogonal(nn.Linear(2, 2))))
    assert messages[0].startswith("--amp: 1 layers have constrained weights")


def test_a_user_error_is_one_line(tmp_path):
    command = [sys.executable, str(SCRIPT), str(tmp_path / "absent.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == f"error: config file {command[2]} does not exist"
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("script", "arguments", "tool"),
    [
        ("dist_train.sh", ["a b.py", "2", "--work-dir", "out put"], "train.py"),
        ("dist_test.sh", ["a b.py", "c d.pth", "2", "--out", "out put"], "test.py"),
    ],
)
def test_the_distributed_scripts_pass_their_arguments_on(tmp_path, script, arguments, tool):
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$PYTHONPATH" "$@"\n')
    fake.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PORT": "1234", "NNODES": "3"}
    command = ["bash", str(ROOT / "tools" / script), *arguments]
    printed = subprocess.check_output(command, text=True, env=environment).splitlines()
    gpus = arguments.index("2")
    assert Path(printed[0]).resolve() == ROOT
    assert printed[1:3] == ["-m", "torch.distributed.run"]
    assert {"--nnodes=3", "--master_port=1234", "--nproc_per_node=2"} <= set(printed)
    started = printed.index(str(ROOT / "tools" / tool))
    positional, options = arguments[:gpus], arguments[gpus + 1 :]
    assert printed[started + 1 :] == [*positional, "--launcher", "pytorch", *options]


@pytest.mark.gpu
def test_distributed_training(config_path):
    command = ["bash", str(ROOT / "tools" / "dist_train.sh"), str(config_path), "1"]
    result = subprocess.run(
        [*command, "--work-dir", "run", "--amp"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert load("run", 2)["meta"]["iter"] == 2
