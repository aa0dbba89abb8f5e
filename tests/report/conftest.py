"""Small real certificates of every method, as the command line writes them."""

from dataclasses import replace

import pytest
import torch

from mmseg_lipcert.certificates import (
    RegionQuery,
    SmoothingSettings,
    dataset_summary,
    image_entry,
    smoothing_entry,
    smoothing_summary,
)
from mmseg_lipcert.report import (
    build_lipschitz_certificate,
    build_smoothing_certificate,
    certificate_json,
)

CLASSES = ("road", "car", "sky")
MODEL = dict(type="EncoderDecoder", config="a.py", checkpoint="a.pth", weights_sha256="0af3")
AUDIT = dict(bound=1.5, lower_bound=0.7, preprocessing=1.5, network=1.0)
SETTINGS = SmoothingSettings(0.25, 10, 100, 0.001, (0.6, 0.75))
TIMES = dict(seconds_forward=2.0, seconds_certificate=1.0, resized=False)


def lipschitz_entry(seed):
    """Of image ``scene_SEED``."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 9, 9, generator=generator)
    target = torch.randint(0, 2, (9, 9), generator=generator)
    query = RegionQuery(min_pixels=2, fabricate_classes=(1,), fabricate_pixels=10)
    found = image_entry(
        logits, target, [0.1, 0.3], 1.5, thresholds=[0.3], shares=[0.1, 0.5], regions=query
    )
    return {**found, **TIMES, "image": f"scene_{seed}"}


def votes_entry(seed, settings):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 2, (9, 9), generator=generator)
    hits = torch.randint(70, 101, (9, 9), generator=generator)
    found = smoothing_entry(target, hits, target, target, settings, 3)
    return {**found, **TIMES, "forward_passes": 111}


@pytest.fixture
def write_certificate(tmp_path):
    """Write a certificate.json of a method into an empty folder; return the folder."""

    def write(method, classes=CLASSES, images=2, **changes):
        model = {key: changes.pop(key, value) for key, value in MODEL.items()}
        if method == "lipschitz":
            entries = [lipschitz_entry(seed) for seed in range(images)]
            certificate = build_lipschitz_certificate(
                dataset_summary(entries), entries, {**AUDIT, **changes}, classes, model,
                vanish_share=0.9, seed=None,
            )  # fmt: skip
        else:
            settings = replace(SETTINGS, **changes)
            entries = [votes_entry(seed, settings) for seed in range(images)]
            certificate = build_smoothing_certificate(
                smoothing_summary(entries), entries, settings, classes, model,
                method=method, noise_at="original", seed=3,
            )  # fmt: skip
        (tmp_path / "certificate.json").write_text(certificate_json(certificate))
        return tmp_path

    return write
