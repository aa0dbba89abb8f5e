"""tools/test.py --certify smoothing and denoise: certificates, their files, resuming, errors."""

import json
import shutil

import cv2
import jsonschema
import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS

from mmseg_lipcert.certificates import SmoothingSettings
from mmseg_lipcert.certificates.smoothing.binomial import required_draws
from mmseg_lipcert.models.segmentors import SmoothedSegmentor
from mmseg_lipcert.report import CERTIFICATE_SCHEMA
from mmseg_lipcert.utils.cli import CommandLineError

DRAWS = ["--n0", "3", "--n", "60", "--sigma", "0.02"]


@pytest.fixture(scope="module")
def plain(project):
    """Config and checkpoint of an unmodified zoo network on the tiny project's scenes."""
    config = get_config("mmseg::fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py")
    dataset = Config.fromfile(project.config).test_dataloader.dataset
    config.test_dataloader.num_workers = 0
    config.test_dataloader.persistent_workers = False
    # The zoo's own pipeline, with its Resize.
    config.test_dataloader.dataset.update(
        {key: dataset[key] for key in ("type", "data_root", "data_prefix")}
    )
    config.test_dataloader.dataset.pipeline[1].scale = (128, 64)
    path = project.folder / "fast_scnn.py"
    config.dump(path)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = revert_sync_batchnorm(MODELS.build(config.model))
    sensitize(model)
    checkpoint = project.folder / "fast_scnn.pth"
    torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
    return path, checkpoint


def sensitize(model):
    """Make a random network look at its image: statistics of real features, no bias."""
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        model.decode_head.conv_seg.bias.zero_()
        model.train()(50 * torch.randn(4, 3, 64, 128))


def certificate(folder):
    result = json.loads((folder / "certificate.json").read_text())
    jsonschema.validate(result, json.loads(CERTIFICATE_SCHEMA.read_text()))
    return result


def without_times(result):
    return {key: value for key, value in result.items() if key not in ("cost", "environment")}


@pytest.fixture
def certify(test_tool, plain, tmp_path):
    def run(*arguments, out="out"):
        test_tool(*plain, "--certify", "smoothing", *DRAWS, *arguments, "--out", tmp_path / out)
        return tmp_path / out

    return run


def test_an_unmodified_zoo_config_is_certified_without_naming_a_method(test_tool, plain, tmp_path):
    out = tmp_path / "out"
    test_tool(*plain, "--certify", *DRAWS, "--out", out, "--show-dir", tmp_path / "pictures")
    result = certificate(out)
    assert result["method"] == "smoothing" and result["images"] == 3
    assert result["lipschitz"] is None and result["model"]["type"] == "EncoderDecoder"
    (row,) = result["certified"]
    assert row["eps"] == pytest.approx(0.02 * 0.67449, abs=1e-5)
    assert row["stability"] + row["abstain"] == pytest.approx(1)
    assert row["pixel_accuracy"] <= result["smoothing"]["smoothed"]["pixel_accuracy"]
    assert result["cost"]["forward_passes_per_image"] == 3 + 60 + 1
    assert result["smoothing"]["noise_at"] == "original"
    files = sorted(out.rglob("*.npz"))
    assert len(files) == len(list((tmp_path / "pictures").rglob("*.png"))) == 3
    stable = []
    for file in files:
        maps = np.load(file)
        assert maps["hits"].max() <= 60 and maps["prediction"].shape == (32, 64)
        certified = maps["prediction"] != 255
        assert (maps["prediction"] == maps["selected"])[certified].all()
        assert maps["hits"][certified].min() > maps["hits"][~certified].max(initial=0)
        stable.append(certified.mean())
    assert (out / "curve.png").exists() and 0 < np.mean(stable) < 1


def test_neither_batch_nor_interruption_changes_a_number(certify):
    whole = certify()
    again = certify("--draws-per-batch", "1", "--limit", "1", out="again")
    certify("--draws-per-batch", "7", "--resume", out="again")
    assert without_times(certificate(whole)) == without_times(certificate(again))


def test_seed_sigma_and_settings_decide_the_numbers(certify):
    certify("--limit", "1")
    for change in (["--seed", "5"], ["--sigma", "0.1"], ["--tau", "0.7"], ["--alpha", "0.01"]):
        with pytest.raises(CommandLineError, match="other settings"):
            certify("--limit", "1", "--resume", *change)
    loud = ["--limit", "1", "--sigma", "1"]
    folders = [certify(*loud, "--seed", seed, out=seed) for seed in ("5", "6")]
    hits = [np.load(next(folder.rglob("*.npz")))["hits"] for folder in folders]
    assert (hits[0] != hits[1]).any()


def test_several_radii_and_corrections(certify):
    result = certificate(
        certify("--limit", "1", "--tau", "0.6", "0.75", "--correction", "metric", "--alpha", "0.05")
    )
    assert [row["tau"] for row in result["certified"]] == [0.6, 0.75]
    assert result["smoothing"]["correction"] == "metric"
    loose = certificate(certify("--limit", "1", "--correction", "k-fwer", "--k", "9", out="k"))
    strict = certificate(certify("--limit", "1", "--correction", "bonferroni", out="b"))
    assert loose["certified"][0]["abstain"] <= strict["certified"][0]["abstain"]


def test_a_hierarchy_adds_certified_information(certify):
    result = certificate(certify("--limit", "1", "--hierarchy", "cityscapes"))
    assert 0 <= result["certified"][0]["information_gain"] <= 1


def test_too_few_draws_are_refused_with_the_number_that_suffices(certify):
    with pytest.raises(CommandLineError, match="n=10 draws can certify none of 2048 pixels.*least"):
        certify("--n", "10")


def test_the_largest_image_decides_how_many_draws_are_needed(certify, project, tmp_path):
    shutil.copytree(project.folder / "scenes", tmp_path / "scenes")
    for path in (tmp_path / "scenes").rglob("*000002_*.png"):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), cv2.resize(image, (256, 128), interpolation=cv2.INTER_NEAREST))
    options = ["--cfg-options", f"test_dataloader.dataset.data_root={tmp_path / 'scenes'}"]
    enough = required_draws(2048, 0.75, 0.001)
    with pytest.raises(CommandLineError, match="largest image: .* none of 32768 pixels"):
        certify("--n", enough, *options)
    assert not (tmp_path / "out").exists()


def test_a_hierarchy_of_other_classes_is_refused_before_any_work(project, plain, test_tool):
    classes = ["--cfg-options", "model.decode_head.num_classes=5"]
    with pytest.raises(CommandLineError, match="groups 19 classes, the model has 5"):
        test_tool(*plain, "--certify", "smoothing", "--hierarchy", "cityscapes", *classes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sigma", "-1"], "sigma must be a positive number, got -1"),
        (["--tau", "1.5"], r"tau must be in \[0.5, 1\), got 1.5"),
        (["--alpha", "2"], r"alpha must be in \(0, 1\), got 2"),
        (["--eps", "0.1"], "--eps cannot go with --certify smoothing"),
        (["--denoiser", "x"], "--denoiser cannot go with --certify smoothing"),
        (["--hierarchy", "nothing.py"], "nothing.py does not exist"),
        (["--k", "3"], "k must be 1 unless"),
    ],
)
def test_wrong_flags_are_one_line(arguments, message, certify):
    with pytest.raises(CommandLineError, match=message):
        certify(*arguments)


def test_flags_of_smoothing_need_certify(test_tool, plain):
    with pytest.raises(CommandLineError, match="--sigma, --draws-per-batch need --certify"):
        test_tool(*plain, "--sigma", "0.1", "--draws-per-batch", "2")


def test_a_lipschitz_model_can_be_smoothed_too(test_tool, project, tmp_path):
    with pytest.raises(CommandLineError, match="--sigma cannot go with --certify lipschitz"):
        test_tool(project.config, project.checkpoint, "--certify", "--sigma", "0.1")
    test_tool(
        project.config, project.checkpoint, "--certify", "smoothing", *DRAWS, "--limit", "1",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert certificate(tmp_path / "out")["model"]["type"] == "LipEncoderDecoder"


def test_a_plain_model_has_no_lipschitz_certificate(test_tool, plain, tmp_path):
    with pytest.raises(CommandLineError, match="EncoderDecoder has no Lipschitz bound"):
        test_tool(*plain, "--certify", "lipschitz", "--out", tmp_path / "out")


def test_transforms_that_round_must_come_before_the_noise(test_tool, plain, tmp_path):
    config = Config.fromfile(plain[0])
    config.test_dataloader.dataset.pipeline.insert(1, dict(type="CLAHE"))
    path = tmp_path / "clahe.py"
    config.dump(path)
    arguments = ["--certify", *DRAWS, "--limit", "1", "--out", tmp_path / "out"]
    with pytest.raises(CommandLineError, match="CLAHE is not known to be exact"):
        test_tool(path, plain[1], *arguments)
    test_tool(path, plain[1], *arguments, "--noise-at", "network")
    assert certificate(tmp_path / "out")["smoothing"]["noise_at"] == "network"


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("denoiser")
    torch.manual_seed(0)
    unet = UNet2DModel(
        16,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        add_attention=False,
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(folder)
    return folder


def test_a_denoiser_stands_in_front_of_the_segmentor(test_tool, plain, denoiser, tmp_path):
    arguments = ["--certify", "denoise", *DRAWS, "--limit", "1", "--scale", "0.5"]
    test_tool(*plain, *arguments, "--denoiser", denoiser, "--out", tmp_path / "folder")
    result = certificate(tmp_path / "folder")
    assert result["method"] == "denoise"
    assert result["model"]["denoiser"] == "DiffusersDenoiser"
    config = tmp_path / "denoiser.py"
    config.write_text(f"denoiser = dict(type='DiffusersDenoiser', path='{denoiser.as_posix()}')")
    test_tool(*plain, *arguments, "--denoiser", config, "--out", tmp_path / "config")
    assert without_times(certificate(tmp_path / "config")) == without_times(result)


def test_denoising_needs_a_denoiser(test_tool, plain, tmp_path):
    with pytest.raises(CommandLineError, match="needs a denoiser: give --denoiser FOLDER"):
        test_tool(*plain, "--certify", "denoise", "--out", tmp_path / "out")
    with pytest.raises(CommandLineError, match="holds no diffusers model"):
        test_tool(*plain, "--certify", "denoise", "--denoiser", tmp_path, "--out", tmp_path / "out")


def test_a_state_that_the_last_image_leaves_behind_voids_the_certification(certify, monkeypatch):
    """Also the images before it, which look finished."""
    predict, seen = EncoderDecoder.predict, set()

    def remembering(self, inputs, data_samples):
        seen.add(data_samples[0].img_path)
        return predict(self, inputs + (len(seen) == 3), data_samples)

    monkeypatch.setattr(EncoderDecoder, "predict", remembering)
    with pytest.raises(CommandLineError, match="keeps a state between calls"):
        certify()
    monkeypatch.undo()
    with pytest.raises(CommandLineError, match="is void: .* keeps a state between calls"):
        certify("--resume")


@pytest.mark.parametrize("part", ["unet/config.json", "scheduler/scheduler_config.json"])
def test_another_denoiser_in_the_same_folder_is_noticed(test_tool, plain, denoiser, tmp_path, part):
    folder = shutil.copytree(denoiser, tmp_path / "denoiser")
    arguments = ["--certify", "denoise", *DRAWS, "--denoiser", folder, "--out", tmp_path / "out"]
    test_tool(*plain, *arguments, "--limit", "1")
    config = json.loads((folder / part).read_text())
    key, value = ("sample_size", 32) if "unet" in part else ("beta_end", 0.03)
    (folder / part).write_text(json.dumps({**config, key: value}))
    with pytest.raises(CommandLineError, match=f"cannot resume .*: file .*{part} was digest"):
        test_tool(*plain, *arguments, "--resume")


def test_a_budget_of_time_chooses_the_draws(test_tool, plain, tmp_path, monkeypatch):
    monkeypatch.setattr(SmoothedSegmentor, "seconds_per_draw", lambda *_: 0.5)
    arguments = [*plain, "--certify", "smoothing", "--n0", "3", "--out", tmp_path / "out"]
    test_tool(*arguments, "--budget", str(3 * 0.5 * (3 + 64 + 1)))
    settings = certificate(tmp_path / "out")["smoothing"]
    # 64 draws allow as many misses as 59.
    assert settings["n"] == SmoothingSettings(0.25, 3, 64, 0.001, (0.75,)).plateau_start(2048)
    assert 50 < settings["n"] < 64
    with pytest.raises(CommandLineError, match="10 s leaves 3.33 s for each of 3 images"):
        test_tool(*arguments[:-1], tmp_path / "other", "--budget", "10")
    with pytest.raises(CommandLineError, match="give one of --n and --budget"):
        test_tool(*arguments, "--budget", "100", "--n", "50")
