import hashlib
import sys

import torch
from mmengine.config import Config

from mmseg_lipcert.engine.run_settings import run_settings, weights_digest


def settings(weights="digest", model="a", pipeline=("load",)):
    dataset = dict(pipeline=list(pipeline))
    return run_settings(
        Config(dict(model=dict(type=model), test_dataloader=dict(dataset=dataset))), weights
    )


def test_weights_model_and_pipeline_are_settings():
    assert settings() == settings()
    for change in (dict(weights="other"), dict(model="b"), dict(pipeline=("load", "resize"))):
        assert settings(**change) != settings()


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
