import hashlib
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmseg_lipcert.engine import run_settings as module
from mmseg_lipcert.engine.run_settings import data_digest, run_settings, weights_digest


def settings(weights="digest", model="a", pipeline=("load",), **dataset):
    dataset = dict(pipeline=list(pipeline), **dataset)
    return run_settings(
        Config(dict(model=dict(type=model), test_dataloader=dict(dataset=dataset))), weights
    )


def test_weights_model_and_data_are_settings():
    assert settings() == settings()
    for change in (
        dict(weights="other"),
        dict(model="b"),
        dict(pipeline=("load", "resize")),
        dict(data_root="fog"),
        dict(reduce_zero_label=True),
    ):
        assert settings(**change) != settings()


def test_version_is_a_setting(monkeypatch):
    before = settings()
    monkeypatch.setattr(module, "__version__", "another")
    assert settings() != before


def test_digest_of_data_is_that_of_both_files(tmp_path):
    image, labels = str(tmp_path / "a.png"), str(tmp_path / "b.png")
    Path(image).write_bytes(b"12")
    Path(labels).write_bytes(b"3")
    digest = data_digest(image, labels)
    assert digest == data_digest(image, labels) != data_digest(image, None)
    Path(image).write_bytes(b"1")
    Path(labels).write_bytes(b"23")
    assert data_digest(image, labels) != digest


def test_digest_is_that_of_names_and_values():
    weights = dict(a=torch.ones(3), b=torch.zeros(2))
    assert weights_digest(weights) == weights_digest(dict(reversed(weights.items())))
    assert weights_digest(weights) != weights_digest({**weights, "b": torch.tensor([0.0, 1e-30])})
    assert weights_digest(weights) != weights_digest(dict(a=weights["a"], c=weights["b"]))


def test_digest_of_any_type_is_that_of_its_bytes():
    scalar, half = torch.tensor(7), torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16)
    expected = hashlib.sha256(b"a" + (7).to_bytes(8, sys.byteorder)).hexdigest()
    assert weights_digest(dict(a=scalar)) == expected
    assert weights_digest(dict(a=half)) != weights_digest(dict(a=-half))


@pytest.mark.parametrize("name", ["unet/config.json", "scheduler/a.json", "unet/w.safetensors"])
def test_every_file_of_a_denoiser_is_a_setting(name, tmp_path):
    for file in ("unet/config.json", "scheduler/a.json", "unet/w.safetensors"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("1")
    config = Config(
        dict(
            model=dict(type="SmoothedSegmentor", denoiser=dict(path=str(tmp_path))),
            test_dataloader=dict(dataset=dict()),
        )
    )
    before = run_settings(config, "weights")
    assert run_settings(config, "weights") == before
    (tmp_path / name).write_text("2")
    after = run_settings(config, "weights")
    assert [key for key in before if before[key] != after[key]] == [f"file {tmp_path / name}"]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("unet/a.onnx", True),
        ("unet/a.onnx.data", True),
        ("unet/config.json", True),
        ("scheduler/scheduler_config.json", True),
        ("unet/b.onnx", False),
        ("unet/log.json", False),
    ],
)
def test_what_is_read_along_with_a_file_is_a_setting(name, counts, tmp_path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "unet" / "a.onnx").write_text("1")
    parts = [dict(path=str(tmp_path / "unet" / "a.onnx"))]
    config = Config(dict(model=dict(parts=parts), test_dataloader=dict(dataset=dict())))
    before = run_settings(config, "weights")
    (tmp_path / name).write_text("2")
    assert (run_settings(config, "weights") != before) is counts


def test_versions_of_packages_are_settings(monkeypatch):
    before = settings()
    assert before["version of torch"] == torch.__version__
    monkeypatch.setattr(torch, "__version__", "9.9")
    assert settings() != before
