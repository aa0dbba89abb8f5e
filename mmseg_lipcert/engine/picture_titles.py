"""What stands above the picture of an image's certificate."""

from __future__ import annotations

from typing import Any

from mmseg_lipcert.utils.rounding import percent, significant


def lipschitz_title(entry: dict[str, Any]) -> str:
    """Pixel accuracy without attack and at each eps.

    Args:
        entry: Of :func:`mmseg_lipcert.certificates.image_entry`.
    """
    valid = max(entry["valid"], 1)
    accuracy = ", ".join(
        f"{percent((entry['correct'] - lost) / valid)} at {significant(eps)}"
        for eps, lost in zip(entry["eps"], entry["correct_lost"], strict=True)
    )
    return f"pixel accuracy {percent(entry['correct'] / valid)}, certified {accuracy}"


def smoothing_title(row: dict[str, Any]) -> str:
    """Certified accuracy and abstentions at a tested radius.

    Args:
        row: A row of ``certified`` of :func:`mmseg_lipcert.certificates.smoothing_summary`.
    """
    return (
        f"certified at {significant(row['eps'])}: accuracy {percent(row['pixel_accuracy'])}, "
        f"{percent(row['abstain'], up=True)} abstain (black)"
    )
