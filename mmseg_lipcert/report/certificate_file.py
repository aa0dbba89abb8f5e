"""The machine-readable result of a certification."""

from __future__ import annotations

import json
import math
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

#: JSON Schema of certificate.json, version 1.
CERTIFICATE_SCHEMA = Path(__file__).with_name("certificate.schema.json")


def certificate_json(certificate: dict[str, Any]) -> str:
    """Write a certificate as JSON text.

    NaN (a class that the data does not have) becomes null, infinity (a metric that no attack can
    lower to the threshold) the string ``"inf"``: standard JSON knows neither.
    """
    return json.dumps(_standard(certificate), indent=1, allow_nan=False) + "\n"


def environment() -> dict[str, str]:
    """Versions of what computed the numbers."""
    result = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
    for name in (
        "mmseg_lipcert",
        "torch",
        "numpy",
        "onedl-mmengine",
        "onedl-mmcv",
        "onedl-mmsegmentation",
        "mmengine",
        "mmcv",
        "mmsegmentation",
        "orthogonium",
    ):
        try:
            result[name] = version(name)
        except PackageNotFoundError:
            continue
    return result


def _standard(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _standard(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_standard(item) for item in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    return value
