import json
import math

import jsonschema
import pytest
import torch

from mmseg_lipcert.attacks import attack_summary, label_counts
from mmseg_lipcert.certificates import image_entry
from mmseg_lipcert.report import certificate_json
from mmseg_lipcert.report.attack_report import ATTACK_SCHEMA, build_attack_report
from mmseg_lipcert.report.attack_report_tables import (
    attack_class_table,
    attack_table,
    minimal_table,
    region_table,
)
from mmseg_lipcert.utils.rounding import significant

SETTINGS = dict(attacks=["knapsack"], steps=4, clip=False, seed=0, smoothing=None)
MODEL = dict(type="LipEncoderDecoder", config="a.py", checkpoint="a.pth", weights_sha256="0")


def line(name, wrong, certified=True, norm=math.inf):
    """An image of four pixels of two classes, as many of which an attack turns wrong."""
    target = torch.tensor([[0, 0], [1, 1]])
    logits = torch.stack((1.0 - target, 1.0 * target))
    attacked = target.flatten().clone()
    attacked[:wrong] = 1 - attacked[:wrong]

    def counts(labels):
        return label_counts(labels, target, target, 2)

    return {
        "image": name,
        "eps": [0.5, 2.0],
        "valid": 4,
        "gt_area": [2, 2],
        "clean": counts(target),
        "attacks": [
            [{"attack": "knapsack", "norm": 0.5, **counts(target)}],
            [{"attack": "knapsack", "norm": 2.0, **counts(attacked.view(2, 2))}],
        ],
        "minimal": [{"threshold": 0.5, "norm": norm, "radius": 1.2 if certified else None}],
        "regions": [
            {
                "kind": "vanish",
                "class": 1,
                "pixels": 60,
                "norm": norm,
                "radius": 1.2 if certified else None,
            }
        ],
        "certified": image_entry(logits, target, [0.5, 2.0], 1.0) if certified else None,
        "violations": [],
        "seconds": 2.0,
    }


def report(lines):
    return build_attack_report(attack_summary(lines), lines, SETTINGS, ["road", "sky"], MODEL)


@pytest.mark.parametrize("certified", [True, False])
def test_follows_the_schema(certified):
    content = report([line("a", 1, certified), line("b", 2, certified, norm=1.5)])
    written = json.loads(certificate_json(content))
    jsonschema.validate(written, json.loads(ATTACK_SCHEMA.read_text()))
    assert written["per_image"][1]["attacked"] == [1.0, 0.5]
    assert (written["per_image"][0]["certified"] is not None) == certified
    assert written["minimal"][0]["median_norm"] == "inf"
    assert written["minimal"][0]["per_image"][1]["norm"] == 1.5
    assert written["lipschitz_bound"] == (1.0 if certified else None)


def test_violations_name_their_image():
    bad = line("a", 1)
    bad["violations"] = [
        dict(eps=0.5, attack="knapsack", metrics=["iou/1"], norm=0.5, confirmed=True, file="x.npz")
    ]
    written = json.loads(certificate_json(report([bad, line("b", 0)])))
    jsonschema.validate(written, json.loads(ATTACK_SCHEMA.read_text()))
    assert [violation["image"] for violation in written["violations"]] == ["a"]


def test_dataset_table_puts_attacked_above_certified():
    rows = attack_table(report([line("a", 1), line("b", 2)])).splitlines()
    assert "clean" in rows[3] and "100.00" in rows[3]
    assert "attacked" in rows[6] and "62.50" in rows[6]
    assert "certified" in rows[7]
    alone = attack_table(report([line("a", 1, certified=False)]))
    assert "attacked" in alone and "certified" not in alone


def test_class_table_pairs_attacked_and_certified():
    table = attack_class_table(report([line("a", 1), line("b", 2)]))
    assert "| road  |" in table and "25.00 /" in table
    assert " / " not in attack_class_table(report([line("a", 1, certified=False)]))


def test_region_table_shows_medians_per_class():
    table = region_table(report([line("a", 1, norm=1.5), line("b", 1, norm=2.5)]))
    assert "vanish" in table
    assert f"| {significant(2.0)} |" in " ".join(table.split())
    assert f"| {significant(1.2)} |" in " ".join(table.split())
    assert "| 2 / 2 | 1 / 0 |" in " ".join(table.split())
    alone = region_table(report([line("a", 1, certified=False)]))
    assert "- |" in alone and "1 / -" in alone


def test_minimal_table_shows_what_was_found():
    table = minimal_table(report([line("a", 1, norm=1.5), line("b", 1, norm=2.5)]))
    assert "50%" in table and "2 |" in table and "1.2" in table
    assert "- |" in minimal_table(report([line("a", 1, certified=False)]))
