"""What a smoothing certification records of its groups of classes and its denoiser."""

import json
from types import SimpleNamespace

import pytest
import torch
from mmseg.models import SegDataPreProcessor
from torch import nn

from mmseg_lipcert.certificates import smoothing_entry, smoothing_summary
from mmseg_lipcert.engine.methods.smoothing_method import SmoothingMethod
from mmseg_lipcert.engine.run_settings import weights_digest
from mmseg_lipcert.evaluation.metrics import SmoothingCertificateMetric
from mmseg_lipcert.models.segmentors import SmoothedSegmentor

LEVELS = [{"ab": [0, 1], "cd": [2, 3]}]


class Segmentor(nn.Module):
    """Never runs."""

    num_classes = 4
    test_step = None

    def __init__(self):
        super().__init__()
        self.data_preprocessor = SegDataPreProcessor()


class Denoiser(nn.Conv2d):
    """Has weights."""

    def __init__(self):
        super().__init__(3, 3, 1)


def method(**options):
    runner = SimpleNamespace(test_loop=SimpleNamespace(fp16=False))
    model = SmoothedSegmentor(Segmentor(), n=100, **options)
    return SmoothingMethod(runner, model, SmoothingCertificateMetric(), None)


def recorded(**hierarchy):
    """Of run.json."""
    made = method(hierarchy=dict(num_classes=4, **hierarchy))
    return json.loads(json.dumps(made.settings()))["hierarchy"]


def test_groups_of_classes_are_a_setting():
    assert method().settings()["hierarchy"] is None
    found = recorded(levels=LEVELS, share=0.7)
    assert found == {"share": 0.7, "levels": [[["ab", [0, 1]], ["cd", [2, 3]]]]}
    reversed_levels = [dict(reversed(LEVELS[0].items()))]
    for change in (dict(share=0.8), dict(levels=[]), dict(levels=reversed_levels)):
        assert recorded(**{"levels": LEVELS, "share": 0.7, **change}) != found


@pytest.mark.parametrize("hierarchy", [None, dict(num_classes=4, levels=LEVELS, share=0.7)])
def test_groups_of_classes_are_in_the_certificate(hierarchy):
    made = method(hierarchy=hierarchy)
    labels = torch.zeros(4, 4, dtype=torch.int64)
    entry = smoothing_entry(
        labels, labels + 100, labels, labels, made.statistics, 4, hierarchy=made.model.hierarchy
    )
    entry.update(seconds_forward=1.0, seconds_certificate=1.0)
    made.metric.summary = smoothing_summary([entry])
    said = made.report([entry], "abcd", {})["smoothing"]["hierarchy"]
    named = {"share": 0.7, "levels": [{"ab": ["a", "b"], "cd": ["c", "d"]}]}
    assert said == (hierarchy and named)


def test_the_digest_of_the_denoiser_is_that_of_its_weights():
    denoiser = Denoiser()
    made = method(denoiser=denoiser)
    parts, digest = made.model_parts(), weights_digest(denoiser.state_dict())
    assert (parts["denoiser"], parts["denoiser_sha256"]) == ("Denoiser", digest)
    assert made.settings()["denoiser"] == digest
    assert not {"denoiser", "denoiser_sha256"} & set(method().model_parts())
