"""The two schemas list the metrics of the one table."""

import json

import pytest

from mmseg_lipcert.certificates.metrics import CLASS_METRICS, METRICS
from mmseg_lipcert.report import CERTIFICATE_SCHEMA
from mmseg_lipcert.report.attack_report import ATTACK_SCHEMA

WITHOUT_ATTACK = [metric.name for metric in METRICS.values() if metric.scope in ("image", "mean")]


@pytest.mark.parametrize("path", [CERTIFICATE_SCHEMA, ATTACK_SCHEMA], ids=lambda path: path.stem)
def test_every_metric_is_a_required_figure(path):
    figures = json.loads(path.read_text())["$defs"]["figures"]
    assert {*WITHOUT_ATTACK, "pixel_accuracy_dataset", "per_class"} <= set(figures["required"])
    assert set(figures["required"]) <= set(figures["properties"])
    of_class = figures["properties"]["per_class"]["additionalProperties"]
    names = {metric.name for metric in CLASS_METRICS}
    assert set(of_class["required"]) == set(of_class["properties"]) == names
