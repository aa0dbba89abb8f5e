import json
import math
import shlex
import sys
from datetime import UTC, datetime

import pytest

from mmseg_lipcert.report import certificate_json, class_table, environment, overview_table


def certificate():
    figures = dict(pixel_accuracy=0.5, pixel_accuracy_dataset=0.51, stability=1.0, mIoU=0.25)
    figures.update(mDice=0.3, mAcc=math.nan)
    road = dict(iou=0.25, recall=math.nan)
    return {
        "clean": {**figures, "per_class": {"road": road}},
        "certified": [{"eps": 0.1, **figures, "per_class": {"road": road}}],
    }


def test_json_is_standard():
    text = certificate_json({"a": math.nan, "b": [math.inf, 1.5], "c": (1, "x")})

    def refuse(constant):
        raise ValueError(constant)

    assert json.loads(text, parse_constant=refuse) == {"a": None, "b": ["inf", 1.5], "c": [1, "x"]}


def test_environment_says_when_how_and_what_computed(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tools/test.py", "a b.py", "--certify"])
    before = datetime.now(UTC).replace(microsecond=0)
    found = environment()
    assert {"python", "torch", "numpy", "device"} <= set(found)
    assert all(isinstance(value, str) for value in found.values())
    assert shlex.split(found["command"]) == ["python", "tools/test.py", "a b.py", "--certify"]
    assert before <= datetime.fromisoformat(found["date"]) <= datetime.now(UTC)


@pytest.mark.parametrize("table", [overview_table, class_table])
def test_tables_show_percent_and_leave_undefined_out(table):
    text = table(certificate())
    assert "25.00" in text and " - |" in text and "nan" not in text


@pytest.mark.parametrize("table", [overview_table, class_table])
def test_tables_never_round_a_guarantee_up(table):
    result = certificate()
    row = result["certified"][0]
    row.update(eps=0.12346, pixel_accuracy=0.999951, stability=0.5)
    result["clean"]["stability"] = 0.5
    row["per_class"]["road"]["iou"] = 0.999951
    text = table(result)
    assert "99.99" in text and "100.00" not in text
    assert "0.1234" in text and "0.1235" not in text
