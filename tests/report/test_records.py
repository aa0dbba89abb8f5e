import json
from typing import get_type_hints

import pytest

from mmseg_lipcert.certificates.records import CurveRow, RadiusRow
from mmseg_lipcert.certificates.smoothing.records import AccuracyRow
from mmseg_lipcert.report import CERTIFICATE_SCHEMA
from mmseg_lipcert.report.records import (
    BoundRecord,
    Certificate,
    CostRecord,
    HierarchyRecord,
    SmoothingRecord,
)

SCHEMA = json.loads(CERTIFICATE_SCHEMA.read_text())
PARTS = SCHEMA["properties"]


def of_object(part):
    """The object of "null or an object"."""
    return next(option for option in part["oneOf"] if option.get("type") == "object")


@pytest.mark.parametrize(
    ("record", "schema"),
    [
        (Certificate, SCHEMA),
        (BoundRecord, of_object(PARTS["lipschitz"])),
        (SmoothingRecord, of_object(PARTS["smoothing"])),
        (
            HierarchyRecord,
            of_object(of_object(PARTS["smoothing"])["properties"]["hierarchy"]),
        ),
        (RadiusRow, PARTS["radius"]["items"]),
        (CurveRow, PARTS["curve"]["items"]),
        (AccuracyRow, PARTS["accuracy_curve"]["oneOf"][1]["items"]),
        (CostRecord, PARTS["cost"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_types_have_the_keys_of_the_schema(record, schema):
    assert set(get_type_hints(record)) == set(schema["properties"]) == set(schema["required"])
