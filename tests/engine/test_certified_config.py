from pathlib import Path

import pytest
from mmengine.config import Config

from mmseg_lipcert.engine.certified_config import (
    automatic_method,
    certificate_metric,
    foreign_settings,
    set_method,
)

LIPSCHITZ, SMOOTHING = "LipschitzCertificateMetric", "SmoothingCertificateMetric"


def config(model="EncoderDecoder", metric=None, smoothed=None):
    segmentor = dict(type=model)
    if smoothed is not None:
        segmentor = dict(type="SmoothedSegmentor", module=segmentor, **smoothed)
    evaluator = [dict(type="IoUMetric")] + ([dict(type=metric, ignore_index=9)] if metric else [])
    return Config(dict(model=segmentor, test_evaluator=evaluator))


@pytest.mark.parametrize(
    ("given", "denoiser", "method"),
    [
        (config(), None, "smoothing"),
        (config(), "folder", "denoise"),
        (config("LipEncoderDecoder"), None, "lipschitz"),
        (config("LipEncoderDecoder", SMOOTHING), None, "smoothing"),
        (config("LipEncoderDecoder", smoothed=dict()), None, "smoothing"),
        (config("LipEncoderDecoder", LIPSCHITZ, dict()), None, "lipschitz"),
        (config(smoothed=dict(denoiser=dict(type="X"))), None, "denoise"),
    ],
)
def test_the_method_follows_from_metric_model_and_denoiser(given, denoiser, method):
    assert automatic_method(given, denoiser) == method


@pytest.mark.parametrize("method", ["lipschitz", "smoothing"])
def test_another_metric_ignores_the_same_label(method):
    given = Config(dict(model=dict(type="LipEncoderDecoder"), test_evaluator=dict(type="IoU")))
    given.test_dataloader = dict(dataset=dict(ignore_index=7))
    set_method(given, method)
    assert given.test_evaluator.ignore_index == 7
    given.test_evaluator = [dict(type="IoUMetric", ignore_index=0)]
    set_method(given, method)
    assert given.test_evaluator.ignore_index == 0


def test_lipschitz_certificates_are_of_the_segmentor_itself():
    given = config("LipEncoderDecoder", LIPSCHITZ, dict(sigma=0.5))
    set_method(given, "lipschitz", eps=[0.3])
    assert given.model == dict(type="LipEncoderDecoder")
    assert given.test_evaluator == dict(type=LIPSCHITZ, ignore_index=9, eps=[0.3])


def test_settings_go_to_model_and_metric_and_the_others_stay():
    given = config(metric=SMOOTHING, smoothed=dict(sigma=0.5, n=7, denoiser=dict(type="X")))
    set_method(given, "denoise", sigma=0.1, alpha=0.01, n=None, seed=4)
    assert given.model == dict(
        type="SmoothedSegmentor",
        module=dict(type="EncoderDecoder"),
        denoiser=dict(type="X"),
        sigma=0.1,
        n=7,
        seed=4,
    )
    assert certificate_metric(given) == dict(type=SMOOTHING, ignore_index=9, alpha=0.01)
    set_method(given, "denoise", denoiser="folder")
    assert given.model.denoiser == dict(type="DiffusersDenoiser", path="folder")
    set_method(given, "denoise", denoiser="mmseg_lipcert::denoiser_street-scenes")
    assert (Path(given.model.denoiser["path"]) / "unet" / "config.json").is_file()
    set_method(given, "smoothing")
    assert given.model.denoiser is None


def test_another_method_has_another_metric():
    given = config(metric=LIPSCHITZ)
    set_method(given, "smoothing")
    assert given.test_evaluator == dict(type=SMOOTHING, ignore_index=9)


def test_what_a_method_does_not_know_is_named():
    names = ["eps", "tau", "denoiser", "sigma", "seed"]
    assert foreign_settings("lipschitz", names) == ["tau", "denoiser", "sigma"]
    assert foreign_settings("smoothing", names) == ["eps", "denoiser"]
    assert foreign_settings("denoise", names) == ["eps"]


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="eps must be finite and >= 0, got -1"):
        set_method(config("LipEncoderDecoder"), "lipschitz", eps=[-1.0])
    with pytest.raises(ValueError, match=r"alpha must be in \(0, 1\), got 2"):
        set_method(config(), "smoothing", alpha=2.0)
