import json
from types import SimpleNamespace

import jsonschema
import pytest
import torch

from mmseg_lipcert.certificates import RegionQuery, dataset_summary, image_entry
from mmseg_lipcert.engine.certifiers import LipschitzCertifier
from mmseg_lipcert.evaluation.metrics import LipschitzCertificateMetric
from mmseg_lipcert.report import CERTIFICATE_SCHEMA, build_lipschitz_certificate, certificate_json

CLASSES = ("road", "car", "sky")
MODEL = dict(type="LipEncoderDecoder", config="a.py", checkpoint="a.pth", weights_sha256="0")
AUDIT = dict(bound=1.5, lower_bound=0.7, preprocessing=1.5, network=1.0)
QUERY = RegionQuery(min_pixels=2, object_classes=(1,), fabricate_pixels=80)


def entry(seed, lipschitz, counts=False):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 9, 9, generator=generator)
    target = torch.randint(0, 2, (9, 9), generator=generator)
    if counts:
        target = torch.nn.functional.one_hot(target, 3).permute(2, 0, 1)
    found = image_entry(
        logits, target, [0.1], lipschitz, thresholds=[0.5], shares=[0.1], regions=QUERY
    )
    times = {"seconds_forward": 2.0 + seed, "seconds_certificate": 1.0}
    return {**found, **times, "resized": seed > 0}


def build(entries):
    certificate = build_lipschitz_certificate(
        dataset_summary(entries), entries, AUDIT, CLASSES, MODEL,
        query=QUERY, seed=None,
    )  # fmt: skip
    written = json.loads(certificate_json(certificate))
    jsonschema.validate(written, json.loads(CERTIFICATE_SCHEMA.read_text()))
    return written


def test_largest_bound_of_all_images_is_the_bound():
    found = build([entry(0, 1.5), entry(1, 3.0)])["lipschitz"]
    assert found.pop("resized_images") == 1
    assert found == dict(bound=3.0, lower_bound=0.7, preprocessing=1.5, network=2.0)


def test_times_are_means():
    assert build([entry(0, 1.5), entry(1, 1.5)])["cost"] == dict(
        forward_passes_per_image=1, seconds_per_image=3.5, seconds_forward_per_image=2.5
    )


def test_classes_have_their_names_and_infinity_is_a_string():
    found = build([entry(0, 1.5), entry(1, 1.5)])
    assert list(found["clean"]["per_class"]) == list(CLASSES)
    assert [row["class"] for row in found["regions"]] == list(CLASSES)
    assert found["regions"][0]["count"] > 0 and found["regions"][0]["vanish_share"] == 0.9
    assert all(row["min_pixels"] == 2 for row in found["regions"])
    assert found["regions"][2]["count"] == 0 and found["regions"][2]["median_radius"] is None
    (row,) = found["fabrication"]
    assert (row["class"], row["pixels"], row["distance"]) == ("car", 80, 10)
    assert row["median_radius"] == row["smallest_radius"] == "inf"
    assert row["clean"] == {"false_alarms": 0.0, "alarm_free": 1.0}
    assert row["certified"] == [{"eps": 0.1, **row["clean"]}]
    assert [list(row["certified"][0]) for row in found["regions"]] == [["eps", "detected"]] * 3
    assert 0 <= found["certified"][0]["detection"] <= found["clean"]["detection"] <= 1
    assert found["curve"][0]["share"] == 0.1 and found["curve"][0]["radius"] > 0
    first, *_, last = found["accuracy_curve"]
    assert first == {"radius": 0.0, "pixel_accuracy": found["clean"]["pixel_accuracy"]}
    assert last == {"radius": 0.1, "pixel_accuracy": found["certified"][0]["pixel_accuracy"]}


def test_no_regions_without_a_logit_for_every_label_pixel():
    found = build([entry(0, 1.5), entry(1, 1.5, counts=True)])
    assert found["regions"] is None and found["fabrication"] is None


def test_the_certifier_says_how_many_pixels_an_object_has():
    metric = LipschitzCertificateMetric(vanish_share=0.8, min_region_pixels=7)
    metric.dataset_meta = dict(classes=CLASSES)
    certifier = LipschitzCertifier(SimpleNamespace(lipschitz_bound=None), metric)
    for row in certifier.report([entry(0, 1.5)], AUDIT, MODEL, None)["regions"]:
        assert (row["vanish_share"], row["min_pixels"]) == (0.8, 7)


def test_schema_demands_the_size_of_objects():
    written = build([entry(0, 1.5)])
    del written["regions"][0]["min_pixels"]
    with pytest.raises(jsonschema.ValidationError, match="min_pixels"):
        jsonschema.validate(written, json.loads(CERTIFICATE_SCHEMA.read_text()))


@pytest.mark.parametrize("key", ["curve", "regions", "fabrication"])
def test_schema_demands_every_part(key):
    written = build([entry(0, 1.5)])
    del written[key]
    with pytest.raises(jsonschema.ValidationError, match=key):
        jsonschema.validate(written, json.loads(CERTIFICATE_SCHEMA.read_text()))
