"""Small real certificates of every method, as the command line writes them."""

import json
from dataclasses import replace
from operator import itemgetter

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
    joint_digest,
)

CLASSES = ("road", "car", "sky")
MODEL = dict(type="EncoderDecoder", config="a.py", checkpoint="a.pth")
MODEL.update(weights_sha256="0af3")
DENOISER = dict(denoiser="DiffusersDenoiser", denoiser_sha256="6d1e")
AUDIT = dict(bound=1.5, lower_bound=0.7, preprocessing=1.5, network=1.0)
SETTINGS = SmoothingSettings(0.25, 10, 100, 0.001, (0.6, 0.75))
QUERY = RegionQuery(min_pixels=2, object_classes=(1,), fabricate_pixels=2, fabricate_distance=0)
TIMES = dict(seconds_forward=2.0, seconds_certificate=1.0, resized=False)


def named(seed):
    return {"image": f"scene_{seed}", "data_sha256": f"{seed:064x}"}


def labels(generator, labeled):
    target = torch.randint(0, 2, (9, 9), generator=generator)
    return target if labeled else target.fill_(255)


def lipschitz_entry(seed, labeled):
    """Of image ``scene_SEED``."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 9, 9, generator=generator)
    target = labels(generator, labeled)
    found = image_entry(
        logits, target, [0.1, 0.3], 1.5, thresholds=[0.3], shares=[0.1, 0.5], regions=QUERY
    )
    return {**found, **TIMES, **named(seed)}


def votes_entry(seed, settings, hierarchy, labeled):
    """The smoothed model finds the labels 0 and 1, the plain one predicts 0 everywhere."""
    generator = torch.Generator().manual_seed(seed)
    target = labels(generator, labeled)
    selected = target % 255
    hits = torch.randint(70, 101, (9, 9), generator=generator)
    clean = torch.zeros_like(target)
    found = smoothing_entry(selected, hits, target, clean, settings, 3, hierarchy=hierarchy)
    return {**found, **TIMES, **named(seed), "forward_passes": 111}


@pytest.fixture
def write_certificate(tmp_path):
    """Write certificate.json and the lines of its images; return the folder."""

    def write(
        method,
        classes=CLASSES,
        images=2,
        hierarchy=None,
        labeled=True,
        folder="",
        first=0,
        **changes,
    ):
        model = {key: changes.pop(key, value) for key, value in MODEL.items()}
        seeds = range(first, first + images)
        if method == "denoise":
            model.update(DENOISER)
        if method == "lipschitz":
            entries = [lipschitz_entry(seed, labeled) for seed in seeds]
            model["data_sha256"] = joint_digest(sorted(entries, key=itemgetter("image")))
            certificate = build_lipschitz_certificate(
                dataset_summary(entries), entries, {**AUDIT, **changes}, classes, model,
                query=QUERY, seed=None,
            )  # fmt: skip
        else:
            settings = replace(SETTINGS, **changes)
            entries = [votes_entry(seed, settings, hierarchy, labeled) for seed in seeds]
            model["data_sha256"] = joint_digest(sorted(entries, key=itemgetter("image")))
            certificate = build_smoothing_certificate(
                smoothing_summary(entries), entries, settings, classes, model,
                method=method, noise_at="original", hierarchy=hierarchy, seed=3,
            )  # fmt: skip
        out = tmp_path / folder
        out.mkdir(exist_ok=True)
        (out / "certificate.json").write_text(certificate_json(certificate))
        lines = [json.dumps(entry) for entry in entries]
        (out / "images.0.jsonl").write_text("\n".join(lines))
        return out

    return write
