"""Whatever is wrong with what a user gives ends a tool with status 2 and one line that names it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmseg_lipcert.utils.cli import CommandLineError

DENOISER = str(Path(__file__).parents[2] / "demo" / "checkpoints" / "denoiser_street-scenes")
ATTACK = ("attack.py", "--eps", 0.1, "--attack", "masked-ce", "--steps", 1)


@pytest.fixture
def fail(tool_module, monkeypatch, capsys, tmp_path):
    """Run a tool that must fail before any work; give the one line that it says."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        monkeypatch.chdir(tmp_path)
        assert tool_module(name).main() == 2
        error = capsys.readouterr().err
        (line,) = [text for text in error.splitlines() if text.startswith("error: ")]
        assert "Traceback" not in error and "unexpected" not in line
        return line

    return run


@pytest.fixture
def scenes(project, tmp_path):
    """A copy of the scenes, to be damaged; images and labels sorted by name."""
    root = shutil.copytree(project.folder / "scenes", tmp_path / "scenes")
    return (
        sorted((root / "leftImg8bit").rglob("*.png")),
        sorted((root / "gtFine").rglob("*.png")),
        [f"test_dataloader.dataset.data_root={root}"],
    )


def assert_matches(line, pattern):
    assert re.search(pattern, line), line


def edited(project, folder, edit):
    """The config with a change."""
    config = Config.fromfile(project.config)
    edit(config)
    config.dump(folder / "edited.py")
    return folder / "edited.py"


DATASET = "test_dataloader.dataset"
OPTIONS = {
    "model": ("model.type=Absent", "cannot run config .*Absent is not in the"),
    "dataset": (f"{DATASET}.type=Absent", "dataset of test_dataloader .*Absent is not in the"),
    "transform": (f"{DATASET}.pipeline.0.type=Absent", "Absent is not in the"),
    "hook": ("default_hooks.logger.type=Absent", "cannot run config .*Absent is not in the"),
    "no type": (f"{DATASET}.type=None", "cannot build the dataset of test_dataloader"),
    "no dataset": ("test_dataloader=None", "has no test_dataloader with a dataset"),
    "no preprocessor": ("model.data_preprocessor=None", "has no data_preprocessor: give the one"),
    "std 0": ("model.data_preprocessor.std=[0,1,1]", r"std of the .* positive .*\[0, 1, 1\]"),
    "std -1": ("model.data_preprocessor.std=[-1,1,1]", r"std of the .* positive .*\[-1, 1, 1\]"),
    "std NaN": ("model.data_preprocessor.std=[nan,1,1]", r"std of the .* positive .*\[nan, 1.0"),
    "no folder": (f"{DATASET}.data_root=absent", "absent/leftImg8bit/test"),
    "list of images": (f"{DATASET}.ann_file=absent.txt", "absent.txt"),
}


@pytest.mark.parametrize(("option", "message"), OPTIONS.values(), ids=OPTIONS)
def test_wrong_settings(project, fail, option, message):
    line = fail("test.py", project.config, project.checkpoint, "--cfg-options", option)
    assert_matches(line, message)


def test_a_setting_without_value(project, tool_module, monkeypatch, capsys):
    command = ["test.py", project.config, project.checkpoint, "--cfg-options", "model"]
    monkeypatch.setattr(sys, "argv", list(map(str, command)))
    with pytest.raises(SystemExit) as exit_info:
        tool_module("test.py").main()
    assert exit_info.value.code == 2
    assert "--cfg-options: 'model' is no KEY=VALUE" in capsys.readouterr().err


def test_test_time_augmentation_that_the_config_does_not_have(project, fail):
    line = fail("test.py", project.config, project.checkpoint, "--tta")
    assert_matches(line, "--tta needs tta_model and tta_pipeline in the config")


def test_an_explanation_of_a_network_without_a_bound(project, tmp_path, fail):
    def plain(config):
        config.model.type = "EncoderDecoder"

    config = edited(project, tmp_path, plain)
    command = ("analysis_tools/explain.py", config, project.checkpoint, "--out", tmp_path / "out")
    assert_matches(fail(*command), "EncoderDecoder has no Lipschitz bound")


def test_a_dataset_without_classes(project, fail):
    options = [f"{DATASET}.{key}" for key in ("type=BaseSegDataset", "metainfo=None")]
    options.append(f"{DATASET}.img_suffix=_leftImg8bit.png")
    options.append(f"{DATASET}.seg_map_suffix=_gtFine_labelTrainIds.png")
    command = ("test.py", project.config, project.checkpoint, "--certify", "--cfg-options")
    assert_matches(fail(*command, *options), "the test dataset has no classes: give")


def test_a_data_root_that_is_a_file(project, fail):
    option = f"{DATASET}.data_root={project.config}"
    line = fail("test.py", project.config, project.checkpoint, "--cfg-options", option)
    assert_matches(line, "tiny.py/leftImg8bit/test: Not a directory; a part of the path is a file")


def test_a_list_of_images_with_a_byte_order_mark(project, scenes, tmp_path, fail):
    name = str(scenes[0][0].relative_to(tmp_path / "scenes/leftImg8bit/test"))
    (tmp_path / "list.txt").write_text(
        name.removesuffix("_leftImg8bit.png") + "\n", encoding="utf-8-sig"
    )
    options = [*scenes[2], f"{DATASET}.ann_file={tmp_path / 'list.txt'}"]
    line = fail("test.py", project.config, project.checkpoint, "--cfg-options", *options)
    assert_matches(line, "list.txt begins with a byte order mark.*save it as UTF-8 without")


PALETTES = {
    "short": ([[0, 0, 0]], "has 1 colors for 19 classes"),
    "floats": (19 * [[0.5, 0, 0]], r"has the color .0.5, 0, 0.: .*whole numbers"),
    "large": (19 * [[0, 256, 0]], r"has the color .0, 256, 0.: .*0 to 255"),
    "pairs": (19 * [[0, 1]], r"has the color .0, 1.: a color is three"),
}


@pytest.mark.parametrize(("palette", "message"), PALETTES.values(), ids=PALETTES)
def test_wrong_palettes(project, tmp_path, fail, palette, message):
    def edit(config):
        config.test_dataloader.dataset.metainfo = dict(palette=palette)

    line = fail("test.py", edited(project, tmp_path, edit), project.checkpoint)
    assert_matches(line, f"palette of the dataset of test_dataloader {message}")


def test_a_pipeline_that_packs_nothing(project, tmp_path, fail):
    def edit(config):
        config.test_dataloader.dataset.pipeline.pop()

    line = fail("test.py", edited(project, tmp_path, edit), project.checkpoint)
    assert_matches(line, "the pipeline of test_dataloader gives no 'inputs': .*PackSegInputs")


@pytest.mark.parametrize("flag", ["--out", "--show-dir", "--work-dir"])
@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_output_that_is_a_file_or_below_one(project, fail, tmp_path, flag, below):
    (tmp_path / "file").write_text("")
    command = ["test.py", project.config, project.checkpoint, flag, tmp_path / "file" / below]
    assert_matches(fail(*command), "is a file, a folder is needed")


WRITERS = {
    "audit": lambda p: ("audit_lipschitz.py", p.config, "--samples", 0, "--json", "/dev/full"),
    "free": lambda p: ("model_converters/free_classifier.py", p.config, p.checkpoint, "/dev/full"),
}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
@pytest.mark.parametrize("command", WRITERS.values(), ids=WRITERS)
def test_results_without_space(project, tool_module, monkeypatch, capsys, command):
    name, *arguments = command(project)
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    assert tool_module(name).main() in (1, 2)
    error = capsys.readouterr().err
    assert "Traceback" not in error and "unexpected;" not in error
    assert_matches(error, "(?m)^error: .*free some space")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_an_attack_without_space(project, tool_module, monkeypatch, capsys, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "attack.json.partial").symlink_to("/dev/full")
    options = [*ATTACK[1:], "--limit", 1, "--out", tmp_path / "out"]
    command = [ATTACK[0], project.config, project.checkpoint, *options]
    monkeypatch.setattr(sys, "argv", [*map(str, command)])
    assert tool_module(ATTACK[0]).main() == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error and "unexpected;" not in error
    assert_matches(error, "(?m)^error: .*attack.json.*free some space")


def test_results_that_would_replace_a_folder(project, fail, tmp_path):
    line = fail("audit_lipschitz.py", project.config, "--json", tmp_path)
    assert_matches(line, f"--json {tmp_path} is a folder, a file is needed")


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there(project, fail, device):
    command = (project.config, project.checkpoint, "--device", device)
    line = fail(ATTACK[0], *command, *ATTACK[1:])
    assert_matches(line, f"cannot use --device {device}: ")


def damaged_image(images, labels):
    images[1].write_bytes(images[1].read_bytes()[:100])


def name_of_latin1(images, labels):
    for file in (images[1], labels[1]):
        os.rename(file, os.fsencode(file).replace(b"000001", b"00000\xe9"))


def first_label_missing(images, labels):
    labels[0].unlink()


def labels_missing(images, labels):
    shutil.rmtree(labels[0].parents[2])


def other_size(images, labels):
    cv2.imwrite(str(labels[1]), np.zeros((8, 8), np.uint8))


def other_ids(images, labels):
    cv2.imwrite(str(labels[1]), np.full((32, 64), 77, np.uint8))


def empty_labels(images, labels):
    labels[1].write_bytes(b"")


DAMAGES = {
    damaged_image: "000001_leftImg8bit.png",
    name_of_latin1: r"name of the image .*00000.xe9_leftImg8bit.png' is not UTF-8.*: rename it",
    first_label_missing: "No such file.*000000_gtFine_labelTrainIds.png",
    labels_missing: "No such file.*000000_gtFine_labelTrainIds.png",
    other_size: "000001_gtFine.*(8, 8)",
    other_ids: "000001_gtFine.*77",
    empty_labels: "000001_gtFine",
}


@pytest.mark.parametrize(
    ("damage", "message"), DAMAGES.items(), ids=lambda d: getattr(d, "__name__", "")
)
def test_damaged_data_in_an_attack(project, scenes, fail, damage, message):
    damage(*scenes[:2])
    command = (project.config, project.checkpoint, "--cfg-options", *scenes[2])
    assert_matches(fail(ATTACK[0], *command, *ATTACK[1:]), message)


def test_missing_labels_in_a_test(project, scenes, fail):
    labels_missing(*scenes[:2])
    line = fail("test.py", project.config, project.checkpoint, "--cfg-options", *scenes[2])
    assert_matches(line, "000000_gtFine_labelTrainIds.png: No such file or directory")


SMOOTHING = {
    "large scale": (("--scale", 1e9), r"scale must be from 0.01 to 100, got 1000000000\.0"),
    "small scale": (("--scale", 0.001), "scale must be from 0.01 to 100, got 0.001"),
    "no draws in a batch": (("--draws-per-batch", 0), "draws_per_batch must be .* from 1 .*got 0"),
    "n": (("--n", 2**64), "n must be an integer from 1 .*got 18446744073709551616"),
    "n0": (("--n0", 2**64), "n0 must be an integer from 1 .*got 18446744073709551616"),
    "tau": (("--tau", 0.99999999), "can certify none of 2048 pixels.*least [0-9]+"),
    "equal taus": (("--tau", 0.75, 0.75 + 1e-9), "tell them apart, leave one out"),
    "alpha": (("--alpha", 5e-324), "alpha must be at least"),
    "no denoiser": (("--denoiser", "absent"), "absent"),
}


@pytest.mark.parametrize(("flags", "message"), SMOOTHING.values(), ids=SMOOTHING)
def test_wrong_settings_of_smoothing(project, tmp_path, fail, flags, message):
    method = "denoise" if "--denoiser" in flags else "smoothing"
    command = ("test.py", project.config, project.checkpoint, "--out", tmp_path / "out")
    assert_matches(fail(*command, "--certify", method, *flags), message)
    assert not (tmp_path / "out").exists(), "the corrected command can use the folder"


DENOISERS = {
    "type": ("type='Absent'", "Absent is not in the"),
    "strategy": (
        f"type='DiffusersDenoiser', path={DENOISER!r}, strategy_options=dict(tile=8)",
        "strategy 'tile' takes .*, not tile",
    ),
    "sigma": (f"type='DiffusersDenoiser', path={DENOISER!r}", "200.* outside of the"),
}


@pytest.mark.parametrize(("settings", "message"), DENOISERS.values(), ids=DENOISERS)
def test_wrong_denoisers(project, tmp_path, fail, settings, message):
    (tmp_path / "denoiser.py").write_text(f"denoiser = dict({settings})")
    command = ("test.py", project.config, project.checkpoint, "--out", tmp_path / "out")
    flags = ("--certify", "denoise", "--sigma", 100, "--denoiser", tmp_path / "denoiser.py")
    assert_matches(fail(*command, *flags), message)
    assert not (tmp_path / "out").exists(), "the corrected command can use the folder"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_denoiser_that_gives_no_numbers(project, test_tool, tmp_path, onnx_file, value):
    image = ["n", 3, "h", "w"]
    path = onnx_file(
        [("Add", ["image", "value"], ["clean"], {})],
        dict(image=image),
        dict(clean=image),
        dict(value=torch.tensor(value)),
    )
    (tmp_path / "denoiser.py").write_text(f"denoiser = dict(type='OnnxDenoiser', path='{path}')")
    flags = ("--certify", "denoise", "--denoiser", tmp_path / "denoiser.py", "--n", 60)
    with pytest.raises(CommandLineError, match="OnnxDenoiser gives NaN or infinite pixels"):
        test_tool(project.config, project.checkpoint, *flags, "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "certificate.json").exists()
    assert not any(path.stat().st_size for path in (tmp_path / "out").rglob("*.jsonl"))


@pytest.mark.parametrize("tool", ["test.py", "attack.py"])
def test_resuming_in_a_folder_that_cannot_be_written(project, tmp_path, fail, monkeypatch, tool):
    real = os.access  # tests may run as root
    monkeypatch.setattr(
        os, "access", lambda path, mode: path != tmp_path / "out" and real(path, mode)
    )
    (tmp_path / "out").mkdir()
    flags = ("--certify",) if tool == "test.py" else ATTACK[1:]
    command = (tool, project.config, project.checkpoint, "--out", tmp_path / "out", "--resume")
    assert_matches(fail(*command, *flags), "--out .*out cannot be written; choose another folder")


@pytest.fixture
def mounted(tmp_path):
    """A folder on a file system of its own, and a function that mounts it anew: "ro" or "rw"."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(*options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
        return subprocess.run(command, capture_output=True).returncode == 0

    if shutil.which("mount") is None or not mount("size=8m"):
        pytest.skip("mounting needs root")
    try:
        yield folder, lambda mode: mount("remount", mode)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_file_system_that_is_read_only_keeps_what_was_done(
    project, fail, tool_module, monkeypatch, mounted
):
    folder, mount = mounted
    out = folder / "out"
    command = ["test.py", project.config, project.checkpoint, "--certify", "--out"]

    def certify(*flags):
        monkeypatch.setattr(sys, "argv", [*map(str, command), str(out), *flags])
        return tool_module("test.py").main()

    def files():
        return {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}

    assert certify() == 0
    expected = json.loads((out / "certificate.json").read_text())["certified"]
    # As if it had been killed at its last image.
    (out / "certificate.json").unlink()
    (entries,) = [path for path in files() if path.suffix == ".jsonl"]
    *kept, last = entries.read_bytes().splitlines(keepends=True)
    entries.write_bytes(b"".join(kept))
    left = files()
    assert last.startswith(b"{") and mount("ro")
    for flags in ([out, "--resume"], [folder / "new"], [out]):
        assert_matches(fail(*command, *flags), r"--out .*mounted.* cannot be written; choose anoth")
    assert files() == left and mount("rw")
    assert certify("--resume") == 0
    assert json.loads((out / "certificate.json").read_text())["certified"] == expected


def test_a_name_that_is_not_utf8_in_a_certification(project, scenes, tmp_path, fail):
    name_of_latin1(*scenes[:2])
    command = ("test.py", project.config, project.checkpoint, "--certify")
    line = fail(*command, "--out", tmp_path / "out", "--cfg-options", *scenes[2])
    assert_matches(line, DAMAGES[name_of_latin1])
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_not_utf8_does_not_disturb_a_test(project, scenes, test_tool, tmp_path):
    name_of_latin1(*scenes[:2])
    options = ("--out", tmp_path / "maps", "--cfg-options", *scenes[2])
    test_tool(project.config, project.checkpoint, *options)
    assert len(os.listdir(tmp_path / "maps")) == 3


def test_images_of_different_sizes_in_one_batch(project, scenes, tool_module, monkeypatch, capsys):
    for file in (scenes[0][1], scenes[1][1]):
        cv2.imwrite(str(file), cv2.imread(str(file), cv2.IMREAD_UNCHANGED)[:, :32])
    command = ["test.py", project.config, project.checkpoint, "--work-dir", scenes[0][0].parents[3]]
    command += ["--cfg-options", "test_dataloader.batch_size=3", *scenes[2]]
    monkeypatch.setattr(sys, "argv", list(map(str, command)))
    assert tool_module("test.py").main() == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error and "unexpected" not in error
    assert_matches(error, "error: images of different sizes in one batch: set batch_size=1")


BUILDERS = {
    "attack": lambda p, edited: (ATTACK[0], edited, p.checkpoint, *ATTACK[1:]),
    "audit": lambda p, edited: ("audit_lipschitz.py", edited),
    "costs": lambda p, edited: ("analysis_tools/compare_costs.py", edited, p.checkpoint),
    "certification": lambda p, edited: (
        *("analysis_tools/benchmark_certification.py", "--config", edited),
    ),
    "smoothing": lambda p, edited: ("analysis_tools/benchmark_smoothing.py", edited),
    "denoiser": lambda p, edited: ("analysis_tools/benchmark_denoiser.py", edited),
}


@pytest.mark.parametrize("command", BUILDERS.values(), ids=BUILDERS)
def test_an_unknown_type_of_model(project, tmp_path, fail, command):
    def edit(config):
        config.model.type = "Absent"
        config.denoiser = dict(type="Absent")

    line = fail(*command(project, edited(project, tmp_path, edit)))
    assert_matches(line, "cannot build .*edited.py: KeyError: .*Absent is not in the")


def test_two_images_of_one_name_in_an_attack(project, scenes, fail):
    shutil.copy(scenes[0][0], scenes[0][0].with_suffix(".jpg"))
    options = [*scenes[2], f"{DATASET}.img_suffix=('.png','.jpg')"]
    command = (project.config, project.checkpoint, "--cfg-options", *options)
    assert_matches(fail(ATTACK[0], *command, *ATTACK[1:]), "are both called")


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


READERS = {
    "test": lambda p, file, out: ("test.py", p.config, file),
    "certify": lambda p, file, out: ("test.py", p.config, file, "--certify", "--out", out),
    "train": lambda p, file, out: (
        *("train.py", p.config, "--cfg-options", f"load_from={file}"),
        f"train_dataloader.dataset.data_root={p.folder / 'scenes'}",
        "train_dataloader.dataset.data_prefix.img_path=leftImg8bit/test",
        "train_dataloader.dataset.data_prefix.seg_map_path=gtFine/test",
        *("val_dataloader=None", "val_cfg=None", "val_evaluator=None"),
        *("train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False"),
    ),
    "attack": lambda p, file, out: (ATTACK[0], p.config, file, *ATTACK[1:]),
    "audit": lambda p, file, out: ("audit_lipschitz.py", p.config, file),
    "costs": lambda p, file, out: ("analysis_tools/compare_costs.py", p.config, file),
    "free": lambda p, file, out: ("model_converters/free_classifier.py", p.config, file, out),
    "lip_net": lambda p, file, out: ("model_converters/lip_net.py", p.config, file, out),
    "guided": lambda p, file, out: (
        *("model_converters/guided_diffusion_to_diffusers.py", file, out),
    ),
    "ffdnet": lambda p, file, out: (
        *("model_converters/ffdnet_to_safetensors.py", file, f"{out}.safetensors"),
    ),
}
FORMATS = {
    "new": lambda trap, file: torch.save(dict(state_dict={"a": trap}), file),
    "old": lambda trap, file: torch.save(
        dict(state_dict={"a": trap}), file, _use_new_zipfile_serialization=False
    ),
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("reader", READERS)
def test_no_tool_runs_the_code_of_a_checkpoint(project, tmp_path, fail, reader, kind):
    FORMATS[kind](Trap(tmp_path / "sprung"), tmp_path / "trap.pth")
    line = fail(*READERS[reader](project, tmp_path / "trap.pth", tmp_path / "out"))
    assert_matches(line, "trap.pth")
    assert not (tmp_path / "sprung").exists()


def test_infinite_weights_in_an_attack(project, tmp_path, fail):
    state = dict(project.model.state_dict())
    key = next(name for name in state if name.endswith("bn.bias"))
    state[key] = torch.full_like(state[key], torch.inf)
    torch.save(state, tmp_path / "infinite.pth")
    line = fail(ATTACK[0], project.config, tmp_path / "infinite.pth", *ATTACK[1:])
    assert_matches(line, f"weights contain NaN or infinite values: {key}")


def test_scenes_of_a_seed_beyond_64_bits(fail, tmp_path):
    line = fail("dataset_converters/street_scenes.py", "--out", tmp_path, "--seed", 2**64)
    assert_matches(line, "seed must be from 0 to 2.*64 - 1, got 18446744073709551616")
