"""Every config must build, and certify variants must ask for a certification."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

ROOT = Path(__file__).parents[1] / "configs"
CONFIGS = sorted(path for path in ROOT.glob("*/*.py") if path.parent.name != "_base_")
MODEL_CONFIGS = [path for path in CONFIGS if not path.stem.endswith("_certify")]


def name(path):
    return path.stem


@pytest.mark.parametrize("path", MODEL_CONFIGS, ids=name)
def test_model_builds_for_its_data(path, mmseg_scope):
    config = Config.fromfile(path)
    assert "." not in path.stem
    assert config.custom_imports.imports == ["mmseg_lipcert"]
    model = MODELS.build(config.model).eval()
    assert model.num_classes == config.num_classes
    assert tuple(config.model.data_preprocessor.size) == tuple(config.crop_size)
    logits = model(torch.zeros(1, 3, 33, 50))
    assert logits.shape == (1, config.num_classes, 33, 50)


@pytest.mark.parametrize("path", MODEL_CONFIGS, ids=name)
def test_every_config_has_a_certify_variant(path):
    config = Config.fromfile(path.with_name(f"{path.stem}_certify.py"))
    assert [hook.type for hook in config.custom_hooks] == ["CertificationHook"]
    assert config.test_evaluator.type == "LipschitzCertificateMetric"
    assert config.model == Config.fromfile(path).model
