"""The tables that a certification prints."""

from __future__ import annotations

from typing import Any

from prettytable import PrettyTable

from mmseg_lipcert.utils.rounding import percent_cell, significant

#: Columns of the overview: title and key, in clean and certified results.
COLUMNS = (
    ("pixel accuracy", "pixel_accuracy"),
    ("pooled", "pixel_accuracy_dataset"),
    ("stability", "stability"),
    ("mIoU", "mIoU"),
    ("mDice", "mDice"),
    ("mAcc", "mAcc"),
)

#: More columns of Lipschitz certificates.
LIPSCHITZ_COLUMNS = (("worst image", "pixel_accuracy_lowest"),)

#: More columns of smoothed segmentors.
SMOOTHING_COLUMNS = (
    ("abstain", "abstain"),
    ("mIoU as published (no guarantee)", "mIoU_published"),
)


def overview_table(certificate: dict[str, Any]) -> str:
    """Clean values and the guaranteed ones at every eps.

    Smoothed segmentors also have the values of their most frequent classes under noise, without
    attack and abstention. Only Lipschitz certificates, which hold for all images at once, have a
    worst image.
    """
    columns = COLUMNS + (SMOOTHING_COLUMNS if certificate.get("smoothing") else LIPSCHITZ_COLUMNS)
    table = PrettyTable(["eps", *(title for title, _ in columns)], align="r")
    for title, row in _results(certificate):
        table.add_row(
            [title, *(percent_cell(row.get(key), up=key == "abstain") for _, key in columns)]
        )
    return table.get_string()


def class_table(certificate: dict[str, Any]) -> str:
    """Recall and IoU of each class, at every step of :func:`overview_table`."""
    results = _results(certificate)
    table = PrettyTable(
        ["class", *(f"{key} {name}" for key in ("recall", "IoU") for name, _ in results)],
        align="r",
    )
    table.align["class"] = "l"
    for name in certificate["clean"]["per_class"]:
        table.add_row(
            [
                name,
                *(
                    percent_cell(result["per_class"][name].get(key))
                    for key in ("recall", "iou")
                    for _, result in results
                ),
            ]
        )
    return table.get_string()


def _results(certificate: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Titles and figures: without attack, of smoothed segmentors under noise, at every eps."""
    results = [("clean", certificate["clean"])]
    if certificate.get("smoothing"):
        results.append(("noisy", certificate["smoothing"]["smoothed"]))
    return results + [(significant(row["eps"]), row) for row in certificate["certified"]]
