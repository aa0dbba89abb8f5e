import json

import jsonschema
import pytest
import torch

from mmseg_lipcert.certificates import SmoothingSettings, smoothing_entry, smoothing_summary
from mmseg_lipcert.certificates.smoothing import ClassHierarchy
from mmseg_lipcert.report import (
    CERTIFICATE_SCHEMA,
    build_smoothing_certificate,
    certificate_json,
    class_table,
    overview_table,
)

CLASSES = ("road", "car", "sky")
MODEL = dict(type="EncoderDecoder", config="a.py", checkpoint="a.pth", weights_sha256="0")
SETTINGS = SmoothingSettings(0.25, 10, 100, 0.001, (0.6, 0.75))


HIERARCHY = ClassHierarchy(3, [{"ground": [0, 1], "sky": [2]}], share=0.7)


def entry(seed, hierarchy=None, labeled=True):
    """The smoothed model finds the labels 0 and 1, the plain one predicts 0 everywhere."""
    generator = torch.Generator().manual_seed(seed)
    selected = torch.randint(0, 2, (9, 9), generator=generator)
    target = selected if labeled else torch.full_like(selected, 255)
    hits = torch.randint(70, 101, (9, 9), generator=generator)
    clean = torch.zeros_like(selected)
    found = smoothing_entry(selected, hits, target, clean, SETTINGS, 3, hierarchy=hierarchy)
    return {**found, "seconds_forward": 2.0, "seconds_certificate": 1.0, "forward_passes": 111}


def build(entries, method="smoothing", model=MODEL, hierarchy=None):
    certificate = build_smoothing_certificate(
        smoothing_summary(entries), entries, SETTINGS, CLASSES, model,
        method=method, noise_at="original", hierarchy=hierarchy, seed=3,
    )  # fmt: skip
    return json.loads(certificate_json(certificate))


def check(certificate):
    jsonschema.validate(certificate, json.loads(CERTIFICATE_SCHEMA.read_text()))


@pytest.fixture(scope="module")
def written():
    return build([entry(0), entry(1)])


def test_it_follows_the_schema(written):
    check(written)
    assert written["lipschitz"] is None and written["seed"] == 3


def test_settings_and_cost_are_said(written):
    said = written["smoothing"]
    expected = dict(sigma=0.25, n0=10, n=100, alpha=0.001, tau=0.6, correction="holm", k=1)
    assert {key: said[key] for key in expected} == expected
    assert (
        said["radius"] == written["certified"][0]["eps"] == pytest.approx(0.25 * 0.25335, abs=1e-5)
    )
    assert "no certified pixel of the image is wrong" in said["guarantee"]
    assert written["cost"] == dict(
        forward_passes_per_image=111, seconds_per_image=3.0, seconds_forward_per_image=2.0
    )


def test_tables_have_the_smoothed_values_and_abstention(written):
    table = overview_table(written)
    assert "abstain" in table and "noisy" in table and "clean" in table
    assert len([line for line in table.splitlines() if line.startswith("|")]) == 1 + 4
    assert written["smoothing"]["hierarchy"] is None


def test_the_class_table_sets_the_plain_and_the_smoothed_model_apart(written):
    lines = [line.split("|")[1:-1] for line in class_table(written).splitlines() if "|" in line]
    head, *rows = ([cell.strip() for cell in line] for line in lines)
    assert head[:3] == ["class", "recall clean", "recall noisy"]
    assert head[5:7] == ["IoU clean", "IoU noisy"] and len(head) == 1 + 2 * 4
    cells = {row[0]: row for row in rows}
    assert cells["car"][1:3] == ["0.00", "100.00"] and cells["sky"][1:3] == ["-", "-"]


def test_the_groups_of_a_hierarchy_have_the_names_of_their_classes():
    found = build([entry(0, HIERARCHY)], hierarchy=HIERARCHY)
    check(found)
    groups = {"ground": ["road", "car"], "sky": ["sky"]}
    assert found["smoothing"]["hierarchy"] == {"share": 0.7, "levels": [groups]}
    assert list(found["smoothing"]["hierarchy"]["levels"][0]) == HIERARCHY.groups


def test_without_a_label_nothing_is_stable():
    found = build([entry(0, labeled=False)])
    check(found)
    rows = (found["clean"], found["smoothing"]["smoothed"], *found["certified"])
    assert [row["stability"] for row in rows] == [None] * 4


def test_the_schema_demands_the_hierarchy(written):
    del (changed := json.loads(json.dumps(written)))["smoothing"]["hierarchy"]
    with pytest.raises(jsonschema.ValidationError):
        check(changed)


def test_the_schema_demands_the_digest_of_a_denoiser():
    model = {**MODEL, "denoiser": "DiffusersDenoiser"}
    with pytest.raises(jsonschema.ValidationError, match="denoiser_sha256"):
        check(build([entry(0)], "denoise", model))
    check(build([entry(0)], "denoise", {**model, "denoiser_sha256": "0"}))
