import hashlib
import sys
from pathlib import Path

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
