"""The machine-readable result of a certification."""

from __future__ import annotations

import json
import math
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ..certificates.records import Figures
from .records import Certificate

#: JSON Schema of certificate.json, version 1.
CERTIFICATE_SCHEMA = Path(__file__).with_name("certificate.schema.json")


def certificate_json(certificate: Mapping[str, Any]) -> str:
    """Write a certificate as JSON text.

    NaN (a class that the data does not have) becomes null, infinity (a metric that no attack can
    lower to the threshold) the string ``"inf"``: standard JSON knows neither.
    """
    return json.dumps(_standard(certificate), indent=1, allow_nan=False) + "\n"


def environment() -> dict[str, str]:
    """When, by which command and with which versions the numbers were computed."""
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command(),
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
        "diffusers",
    ):
        try:
            result[name] = version(name)
        except PackageNotFoundError:
            continue
    return result


def _command() -> str:
    """The command line of this process."""
    program, *arguments = sys.argv
    words = program.split() if program.startswith("lipcert ") else ["python", program]
    return shlex.join([*words, *arguments])


def certificate_frame(
    method: str,
    clean: Figures,
    certified: Sequence[Figures],
    classes: Sequence[str],
    entries: Sequence[Mapping[str, Any]],
    model: dict[str, str],
    seed: int | None,
) -> Certificate:
    """What every certificate has, with null where only some methods have something.

    Args:
        method: Name of the method.
        clean: Figures of the dataset without attack, lists over the classes.
        certified: Those under attack, per eps.
        classes: Class names.
        entries: Of the images, with ``seconds_forward``, ``seconds_certificate`` and, where there
            is more than one, ``forward_passes``.
        model: What was certified.
        seed: Random seed of the run.
    """
    forward, certifying = (
        sum(entry[f"seconds_{part}"] for entry in entries) / len(entries)
        for part in ("forward", "certificate")
    )
    return {
        "schema": 1,
        "method": method,
        "norm": "l2",
        "units": "[0,1] input pixels",
        "images": len(entries),
        "seed": seed,
        "lipschitz": None,
        "smoothing": None,
        "clean": named_classes(clean, classes),
        "certified": [named_classes(row, classes) for row in certified],
        "radius": [],
        "curve": [],
        "accuracy_curve": None,
        "regions": None,
        "fabrication": None,
        "cost": {
            "forward_passes_per_image": entries[0].get("forward_passes", 1),
            "seconds_per_image": forward + certifying,
            "seconds_forward_per_image": forward,
        },
        "model": model,
        "environment": environment(),
    }


def named_classes(row: Figures, classes: Sequence[str]) -> Figures:
    """Figures whose list over the classes is turned into one by name."""
    return {**row, "per_class": dict(zip(classes, row["per_class"], strict=True))}


def _standard(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _standard(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_standard(item) for item in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    return value
