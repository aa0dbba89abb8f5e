"""What stands above the picture of an image's certificate."""

from __future__ import annotations

from typing import Any


def lipschitz_title(entry: dict[str, Any]) -> str:
    """Pixel accuracy without attack and at each eps.

    Args:
        entry: Of :func:`mmseg_lipcert.certificates.image_entry`.
    """
    valid = max(entry["valid"], 1)
    accuracy = ", ".join(
        f"{100 * (entry['correct'] - lost) / valid:.1f}% at {eps:g}"
        for eps, lost in zip(entry["eps"], entry["correct_lost"], strict=True)
    )
    return f"pixel accuracy {100 * entry['correct'] / valid:.1f}%, certified {accuracy}"


def smoothing_title(row: dict[str, Any]) -> str:
    """Certified accuracy and abstentions at a tested radius.

    Args:
        row: A row of ``certified`` of :func:`mmseg_lipcert.certificates.smoothing_summary`.
    """
    return (
        f"certified at {row['eps']:.3f}: accuracy {100 * row['pixel_accuracy']:.1f}%, "
        f"{100 * row['abstain']:.1f}% abstain (black)"
    )
