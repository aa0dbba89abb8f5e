"""Every config must build, and certify by the one config of its method."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.runner import get_priority
from mmseg.registry import HOOKS, METRICS, MODELS

from mmseg_lipcert.engine.certified_config import automatic_method
from mmseg_lipcert.utils import register_packages

register_packages()

ROOT = Path(__file__).parents[1] / "configs"
CONFIGS = sorted(path for path in ROOT.glob("*/*.py") if path.parent.name != "_base_")
# Networks in files are certified by the command line alone, and their files are not here;
# denoisers and detectors are no segmentors.
ONNX_CONFIGS = [path for path in CONFIGS if path.parent.name == "onnx"]
DENOISER_CONFIGS = [path for path in CONFIGS if path.parent.name == "denoiser"]
DETECTOR_CONFIGS = [path for path in CONFIGS if path.parent.name == "detector"]
CERTIFY_CONFIGS = [path for path in CONFIGS if path.parent.name == "certify"]
OTHER_CONFIGS = (*ONNX_CONFIGS, *DENOISER_CONFIGS, *DETECTOR_CONFIGS, *CERTIFY_CONFIGS)
MODEL_CONFIGS = [path for path in CONFIGS if path not in OTHER_CONFIGS]
LIPSCHITZ_CONFIGS = [path for path in MODEL_CONFIGS if path.parent.name.startswith("lip_")]
SMOOTHING_CONFIGS = [path for path in MODEL_CONFIGS if path not in LIPSCHITZ_CONFIGS]


def name(path):
    return path.stem


@pytest.fixture
def certified(monkeypatch):
    """The config that certifies a model's config by a method."""

    def load(path, method):
        monkeypatch.setenv("MODEL_CONFIG", str(path))
        config = Config.fromfile(ROOT / "certify" / f"{method}.py")
        assert [hook.type for hook in config.custom_hooks] == ["CertificationHook"]
        return config

    return load


@pytest.mark.parametrize("path", CERTIFY_CONFIGS, ids=name)
def test_certify_config_has_a_model_of_its_own_method(path):
    config = Config.fromfile(path)
    assert automatic_method(config) == path.stem
    assert config.custom_imports.imports == ["mmseg_lipcert.registration"]


@pytest.mark.parametrize("path", MODEL_CONFIGS, ids=name)
def test_model_builds_for_its_data(path, mmseg_scope):
    config = Config.fromfile(path)
    assert config.custom_imports.imports == ["mmseg_lipcert.registration"]
    model = MODELS.build(config.model)
    assert model.num_classes == config.num_classes
    assert tuple(config.model.data_preprocessor.size) == tuple(config.crop_size)


@pytest.mark.parametrize("path", LIPSCHITZ_CONFIGS, ids=name)
def test_lipschitz_config_gives_native_logits_and_certifies(path, mmseg_scope, certified):
    config = Config.fromfile(path)
    model = MODELS.build(config.model).eval()
    stride = model.logit_stride
    logits = model(torch.zeros(1, 3, 33, 50))
    assert logits.shape == (1, config.num_classes, -(-33 // stride), -(-50 // stride))
    variant = certified(path, "lipschitz")
    assert variant.test_evaluator.type == "LipschitzCertificateMetric"
    assert variant.model == config.model
    assert variant.test_dataloader == config.test_dataloader


@pytest.mark.parametrize("path", SMOOTHING_CONFIGS, ids=name)
def test_smoothing_config_wraps_the_model_as_it_is(path, mmseg_scope, certified):
    variant = certified(path, "smoothing")
    assert variant.test_evaluator.type == "SmoothingCertificateMetric"
    assert variant.model.type == "SmoothedSegmentor"
    assert variant.model.module == Config.fromfile(path).model
    pipelines = (variant.test_dataloader, Config.fromfile(path).test_dataloader)
    assert pipelines[0].dataset.pipeline == pipelines[1].dataset.pipeline


@pytest.mark.parametrize("path", sorted(ROOT.glob("hrnet/*.py")), ids=name)
def test_hrnet_is_the_one_of_the_zoo_whose_checkpoints_fit(path):
    width, dataset = re.match(r"fcn-hrnet-w(\d+)_.*80k_(.*)", path.stem).groups()
    batch = 2 if "cityscapes" in dataset else 4
    zoo = get_config(f"mmseg::hrnet/fcn_hr{width}_4xb{batch}-80k_{dataset}.py")
    config = Config.fromfile(path)
    assert config.model.pop("_scope_") == "mmseg"  # where its types are registered
    assert config.model == zoo.model
    data, zoo_data = config.test_dataloader.dataset, zoo.test_dataloader.dataset
    assert data.pipeline == zoo_data.pipeline
    assert Path(data.data_root) == Path(zoo_data.data_root)


@pytest.mark.parametrize("path", SMOOTHING_CONFIGS, ids=name)
def test_noise_comes_last_in_training(path):
    types = [transform.type for transform in Config.fromfile(path).train_pipeline]
    assert ("AddGaussianNoise" in types) == ("noise" in path.stem)
    if "Denoise" in types:
        assert types.pop(types.index("AddGaussianNoise") + 1) == "Denoise"
    if "AddGaussianNoise" in types:
        assert types[-2:] == ["AddGaussianNoise", "PackSegInputs"]


@pytest.mark.parametrize("path", ONNX_CONFIGS, ids=name)
def test_onnx_config_tests_a_file_of_the_folder(path, mmseg_scope, pointwise_file, monkeypatch):
    config = Config.fromfile(path)
    outputs = len(config.model.output_classes)
    assert config.model.path == f"models/{path.stem.split('_')[0]}_camvid.onnx"
    file = pointwise_file(torch.ones(outputs, 3), size=(360, 480))
    model = MODELS.build(dict(config.model, path=str(file))).eval()
    assert model.num_classes == config.num_classes == 11
    assert config.train_dataloader is None
    # For plan_smoothing.py, beside the images that are certified.
    splits = [config[f"{split}_dataloader"].dataset.data_prefix for split in ("val", "test")]
    assert splits[0] != splits[1]


@pytest.mark.parametrize("path", sorted(ROOT.glob("_base_/denoisers/*.py")), ids=name)
def test_denoiser_config_names_a_denoiser(path, monkeypatch):
    monkeypatch.setenv("MODELS_ROOT", "elsewhere")
    monkeypatch.setenv("DENOISER", "elsewhere")
    denoiser = Config.fromfile(path).denoiser
    assert denoiser.path.startswith("elsewhere") and denoiser.type in MODELS


@pytest.mark.parametrize("path", DENOISER_CONFIGS, ids=name)
def test_a_denoiser_trains_on_crops_of_its_size_without_labels(path, mmseg_scope):
    config = Config.fromfile(path)
    assert config.custom_imports.imports == ["mmseg_lipcert.registration"]
    model = MODELS.build(config.model)
    assert config.crop_size == (model.crop,) * 2
    average, export = (HOOKS.build(hook) for hook in config.custom_hooks)
    assert MODELS.build(average.ema_cfg, default_args=dict(model=model)).momentum == 0.002
    # The average has to be in the checkpoint before it is exported from there.
    assert get_priority(average.priority) < get_priority(export.priority)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        pipeline = loader.dataset.pipeline
        assert all("Annotation" not in step.type and "Label" not in step.type for step in pipeline)
    crop = dict(type="CheckedRandomCrop", crop_size=config.crop_size)
    assert crop in config.train_dataloader.dataset.pipeline
    # Validation, checkpoints and the learning rate end with the training.
    assert config.train_cfg.max_iters % config.train_cfg.val_interval == 0
    assert config.train_cfg.max_iters % config.default_hooks.checkpoint.interval == 0
    assert config.param_scheduler[-1].T_max == config.train_cfg.max_iters


@pytest.mark.parametrize("path", DETECTOR_CONFIGS, ids=name)
def test_a_detector_is_measured_by_what_it_learns(path, mmseg_scope):
    config = Config.fromfile(path)
    model = MODELS.build(config.model).eval()
    for evaluator in (config.val_evaluator, config.test_evaluator):
        metric = METRICS.build(evaluator)
        assert metric.object_classes == model.decode_head.object_classes
        assert metric.min_pixels == model.decode_head.min_pixels
    assert (ROOT.parent / config.model.backbone.init_cfg.checkpoint).is_file()
    [sample] = model.predict(torch.zeros(1, 3, 33, 50))
    assert sample.outputs.data.shape == (len(metric.object_classes) + 5, 5, 7)
    # Validation and the learning rate end with the training.
    assert config.train_cfg.max_epochs % config.train_cfg.val_interval == 0
    assert config.param_scheduler[-1].T_max == config.train_cfg.max_epochs
