import json
import shutil

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from mmseg_lipcert.models.denoisers import DiffusersDenoiser
from mmseg_lipcert.utils.failures import user_line
from mmseg_lipcert.utils.user_error import UserError

WEIGHTS = "diffusion_pytorch_model"


def denoised(path, **options):
    denoiser = DiffusersDenoiser(path, strategy="native", **options)
    return denoiser(torch.linspace(0, 1, 3 * 8 * 12).view(1, 3, 8, 12), 0.25)


@pytest.fixture
def copy(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "copy")


def test_a_pipeline_its_unet_and_its_file_are_the_same(model_folder):
    whole = denoised(model_folder)
    assert torch.equal(denoised(str(model_folder)), whole)
    assert torch.equal(denoised(model_folder / "unet"), whole)
    assert torch.equal(denoised(model_folder / "unet" / f"{WEIGHTS}.safetensors"), whole)


def test_a_given_scheduler_goes_before_the_folders(model_folder):
    config = json.loads((model_folder / "scheduler/scheduler_config.json").read_text())
    whole = denoised(model_folder)
    assert torch.equal(denoised(model_folder, scheduler=config), whole)
    other = denoised(model_folder, scheduler=config | dict(prediction_type="epsilon"))
    assert not torch.equal(other, whole)


def test_a_file_of_any_name_beside_its_config(model_folder, tmp_path):
    shutil.copy(model_folder / "unet/config.json", tmp_path)
    shutil.copy(model_folder / f"unet/{WEIGHTS}.safetensors", tmp_path / "ema.safetensors")
    shutil.copy(model_folder / "scheduler/scheduler_config.json", tmp_path)
    assert torch.equal(denoised(tmp_path / "ema.safetensors"), denoised(model_folder))


def test_half_precision_weights_are_the_second_choice(copy):
    file = copy / f"unet/{WEIGHTS}.safetensors"
    half = {key: value.half() for key, value in load_file(file).items()}
    exact = denoised(copy)
    save_file(half, copy / f"unet/{WEIGHTS}.fp16.safetensors")
    assert torch.equal(denoised(copy), exact)
    file.unlink()
    rounded = denoised(copy)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, atol=0.02, rtol=0)


def test_weights_in_several_files(copy):
    file = copy / f"unet/{WEIGHTS}.safetensors"
    exact, weights = denoised(copy), list(load_file(file).items())
    file.unlink()
    parts = {"a.safetensors": dict(weights[:20]), "b.safetensors": dict(weights[20:])}
    for name, part in parts.items():
        save_file(part, copy / "unet" / name)
    places = {key: name for name, part in parts.items() for key in part}
    index = copy / f"unet/{WEIGHTS}.safetensors.index.json"
    index.write_text(json.dumps(dict(weight_map=places)))
    assert torch.equal(denoised(copy), exact)


def test_old_checkpoints(copy):
    file = copy / f"unet/{WEIGHTS}.safetensors"
    exact, weights = denoised(copy), load_file(file)
    file.unlink()
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def old_name(key):
        for new, old in names.items():
            key = key.replace(f".{new}.", f".{old}.")
        return key

    old = {old_name(key): value for key, value in weights.items()}
    assert set(old) != set(weights)
    torch.save(old, copy / f"unet/{WEIGHTS}.bin")
    assert torch.equal(denoised(copy), exact)


def test_a_missing_folder_says_what_to_fetch(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.*Nothing is downloaded: fetch"):
        DiffusersDenoiser(tmp_path / "absent")


def test_names_of_the_hub_are_not_downloaded():
    with pytest.raises(FileNotFoundError, match="google/ddpm-cifar10-32 holds no"):
        DiffusersDenoiser("google/ddpm-cifar10-32")


def test_missing_weights_are_named(copy):
    (copy / f"unet/{WEIGHTS}.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=f"no weights: fetch {WEIGHTS}.safetensors"):
        DiffusersDenoiser(copy)
    with pytest.raises(FileNotFoundError, match="there is no"):
        DiffusersDenoiser(copy / "unet/model.safetensors")


def test_a_missing_scheduler_is_named(copy):
    shutil.rmtree(copy / "scheduler")
    with pytest.raises(FileNotFoundError, match="no scheduler/scheduler_config.json"):
        DiffusersDenoiser(copy)


def test_weights_that_do_not_fit_are_refused(copy):
    file = copy / f"unet/{WEIGHTS}.safetensors"
    weights = load_file(file)
    weights.pop("conv_in.weight")
    save_file(weights, file)
    with pytest.raises(UserError, match="do not fit .*config.json.*conv_in.weight"):
        DiffusersDenoiser(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(in_channels=4, out_channels=4), "maps 4 to 4 channels"),
        (dict(num_class_embeds=1000), "wants a class"),
        (dict(class_embed_type="timestep"), "wants a class"),
        (dict(time_embedding_type="learned"), "whole timesteps only"),
        (dict(_class_name=UNet2DConditionModel.__name__), "is a UNet2DConditionModel"),
    ],
)
def test_models_of_another_kind_are_refused(copy, change, message):
    file = copy / "unet/config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        DiffusersDenoiser(copy)


def edit_weights(change):
    def apply(folder):
        file = folder / f"unet/{WEIGHTS}.safetensors"
        weights = load_file(file)
        change(weights)
        save_file(weights, file)

    return apply


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def cut(folder):
    file = folder / f"unet/{WEIGHTS}.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def change_config(**change):
    def apply(folder):
        file = folder / "unet/config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))

    return apply


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


DAMAGES = {
    "cut": (cut, "safetensors is cut off, damaged or no safetensors file: fetch it again"),
    "empty": (write(f"unet/{WEIGHTS}.safetensors", b""), "safetensors is cut off, damaged"),
    "page": (write(f"unet/{WEIGHTS}.safetensors", b"<html>"), "safetensors is cut off, damaged"),
    "additional": (
        edit_weights(lambda w: w.update(extra=torch.zeros(1))),
        "do not fit .*config.json: .*extra",
    ),
    "misshapen": (
        edit_weights(lambda w: w.update({"conv_in.bias": torch.zeros(3)})),
        "do not fit .*config.json: .*conv_in.bias",
    ),
    "nan": (
        edit_weights(lambda w: w["conv_in.bias"].fill_(torch.nan)),
        "conv_in.bias must hold finite floats, it is torch.float32 with NaN",
    ),
    "integers": (
        edit_weights(lambda w: w.update({"conv_in.bias": w["conv_in.bias"].int()})),
        "conv_in.bias must hold finite floats, it is torch.int32",
    ),
    "config list": (write("unet/config.json", b"[1]"), r"config.json must hold one object.*\[1\]"),
    "config empty": (write("unet/config.json", b""), "config.json is no JSON: fetch it again"),
    "config of nothing": (write("unet/config.json", b"{}"), "config.json must hold one object"),
    "config types": (
        change_config(block_out_channels="wide"),
        "config.json describes no UNet2DModel",
    ),
    "scheduler list": (
        write("scheduler/scheduler_config.json", b"[]"),
        "scheduler_config.json must hold one object",
    ),
    "scheduler types": (
        write(
            "scheduler/scheduler_config.json",
            b'{"_class_name": "DDPMScheduler", "num_train_timesteps": "many"}',
        ),
        "scheduler DDPMScheduler cannot be used",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_folder_is_one_line(copy, damage, message):
    damage(copy)
    with pytest.raises((UserError, ValueError), match=message) as raised:
        DiffusersDenoiser(copy)
    assert user_line(raised.value) is not None


@pytest.mark.parametrize(
    "index", [b"{}", b'{"weight_map": 3}', b'{"weight_map": {"a": "no.file"}}']
)
def test_a_wrong_list_of_weights_is_named(copy, index):
    (copy / f"unet/{WEIGHTS}.safetensors").unlink()
    (copy / f"unet/{WEIGHTS}.safetensors.index.json").write_bytes(index)
    with pytest.raises((UserError, FileNotFoundError), match="index.json|there is no .*no.file"):
        DiffusersDenoiser(copy)


def test_pickled_weights_run_no_code(copy, tmp_path):
    (copy / f"unet/{WEIGHTS}.safetensors").unlink()
    torch.save(Trap(tmp_path / "sprung"), copy / f"unet/{WEIGHTS}.bin")
    with pytest.raises(UserError, match="no code of a checkpoint is ever run"):
        DiffusersDenoiser(copy)
    assert not (tmp_path / "sprung").exists()


def test_an_unknown_option_of_the_strategy_is_named(model_folder):
    with pytest.raises(
        ValueError, match="strategy 'tile' takes size, overlap, max_batch, not tile"
    ):
        DiffusersDenoiser(model_folder, strategy_options=dict(tile=8))
