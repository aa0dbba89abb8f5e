import pytest
import torch
from mmengine.config import Config

from mmseg_lipcert.engine.run_settings import run_settings, weights_digest
from mmseg_lipcert.evaluation.metrics import LipschitzCertificateMetric


def settings(weights="digest", model="a", **options):
    config = Config(
        dict(model=dict(type=model), test_dataloader=dict(dataset=dict(pipeline=["load"])))
    )
    metric = LipschitzCertificateMetric(**options)
    metric.dataset_meta = dict(classes=("road", "car"))
    return run_settings(metric, config, weights)


@pytest.mark.parametrize(
    "change",
    [
        dict(weights="other"),
        dict(model="b"),
        dict(eps=[0.3]),
        dict(thresholds=[0.9]),
        dict(shares=[0.3]),
        dict(vanish_share=0.5),
        dict(min_region_pixels=7),
        dict(fabricate_classes=["car"]),
        dict(fabricate_pixels=9),
        dict(ignore_index=0),
    ],
)
def test_whatever_decides_the_numbers_is_a_setting(change):
    assert settings(**change) != settings()
    assert settings(**change) == settings(**change)


def test_a_class_has_one_setting_by_name_and_by_index():
    assert settings(fabricate_classes=["car"]) == settings(fabricate_classes=[1])


def test_digest_is_that_of_names_and_values():
    weights = dict(a=torch.ones(3), b=torch.zeros(2))
    assert weights_digest(weights) == weights_digest(dict(reversed(weights.items())))
    assert weights_digest(weights) != weights_digest({**weights, "b": torch.tensor([0.0, 1e-30])})
    assert weights_digest(weights) != weights_digest(dict(a=weights["a"], c=weights["b"]))
