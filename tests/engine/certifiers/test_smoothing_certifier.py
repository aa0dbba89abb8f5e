"""What a smoothing certification records of its groups of classes and its denoiser."""

import json

import pytest
import torch
from mmseg.models import SegDataPreProcessor
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_lipcert.certificates import smoothing_entry
from mmseg_lipcert.engine import CertificationError
from mmseg_lipcert.engine.certifiers import SmoothingCertifier
from mmseg_lipcert.engine.run_settings import weights_digest
from mmseg_lipcert.evaluation.metrics import SmoothingCertificateMetric
from mmseg_lipcert.models.denoisers import BaseDenoiser
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


def certifier(**options):
    metric = SmoothingCertificateMetric()
    metric.dataset_meta = dict(classes="abcd")
    return SmoothingCertifier(SmoothedSegmentor(Segmentor(), n=100, **options), metric)


def recorded(**hierarchy):
    """Of run.json."""
    made = certifier(hierarchy=dict(num_classes=4, **hierarchy))
    return json.loads(json.dumps(made.settings()))["hierarchy"]


def test_groups_of_classes_are_a_setting():
    assert certifier().settings()["hierarchy"] is None
    found = recorded(levels=LEVELS, share=0.7)
    assert found == {"share": 0.7, "levels": [[["ab", [0, 1]], ["cd", [2, 3]]]]}
    reversed_levels = [dict(reversed(LEVELS[0].items()))]
    for change in (dict(share=0.8), dict(levels=[]), dict(levels=reversed_levels)):
        assert recorded(**{"levels": LEVELS, "share": 0.7, **change}) != found


@pytest.mark.parametrize("hierarchy", [None, dict(num_classes=4, levels=LEVELS, share=0.7)])
def test_groups_of_classes_are_in_the_certificate(hierarchy):
    made = certifier(hierarchy=hierarchy)
    labels = torch.zeros(4, 4, dtype=torch.int64)
    entry = smoothing_entry(
        labels, labels + 100, labels, labels, made.statistics, 4, hierarchy=made.model.hierarchy
    )
    entry.update(seconds_forward=1.0, seconds_certificate=1.0)
    said = made.report([entry], {}, {}, None)["smoothing"]["hierarchy"]
    named = {"share": 0.7, "levels": [{"ab": ["a", "b"], "cd": ["c", "d"]}]}
    assert said == (hierarchy and named)


def test_a_lower_precision_is_part_of_what_is_certified():
    assert certifier(autocast="bfloat16").model_parts()["autocast"] == "bfloat16"
    assert "autocast" not in certifier().model_parts()


def test_the_digest_of_the_denoiser_is_that_of_its_weights():
    denoiser = Denoiser()
    made = certifier(denoiser=denoiser)
    parts, digest = made.model_parts(), weights_digest(denoiser.state_dict())
    assert (parts["denoiser"], parts["denoiser_sha256"]) == ("Denoiser", digest)
    assert made.settings()["denoiser"] == digest
    assert not {"denoiser", "denoiser_sha256"} & set(certifier().model_parts())


class PickyDenoiser(BaseDenoiser):
    """Was made for little noise on small images."""

    def forward(self, noisy, sigma, generators=None):
        return noisy

    def check_sigma(self, sigma, size):
        if sigma > 0.1 or max(size) > 16:
            raise ValueError(f"not made for {sigma} at {size}")


def test_noise_that_the_denoiser_does_not_know_is_refused_before_any_work():
    sample = SegDataSample(metainfo=dict(img_path="a.png", ori_shape=(8, 8)))
    image = torch.zeros(3, 16, 16, dtype=torch.uint8)
    certifier(sigma=0.1, denoiser=PickyDenoiser()).check(image, sample)
    for sigma, size in ((0.2, (16, 16)), (0.1, (16, 17))):
        made = certifier(sigma=sigma, denoiser=PickyDenoiser())
        with pytest.raises(CertificationError, match=f"a.png: not made for {sigma}"):
            made.check(torch.zeros(3, *size, dtype=torch.uint8), sample)


def test_a_method_is_a_matter_of_the_denoiser():
    assert certifier().method == "smoothing"
    assert certifier(denoiser=PickyDenoiser()).method == "denoise"
