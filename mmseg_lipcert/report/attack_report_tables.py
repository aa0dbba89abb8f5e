"""The tables that an attack prints."""

from __future__ import annotations

import math
from typing import Any

from prettytable import PrettyTable

from mmseg_lipcert.utils.rounding import percent_cell, significant

from .tables import COLUMNS, LIPSCHITZ_COLUMNS

_COLUMNS = COLUMNS + LIPSCHITZ_COLUMNS


def attack_table(report: dict[str, Any]) -> str:
    """Clean values, and at every eps the attacked ones above the certified ones, in percent."""
    table = PrettyTable(["eps", "", *(title for title, _ in _COLUMNS)], align="r")
    table.add_row(["0", "clean", *_cells(report["clean"])])
    for row in report["results"]:
        eps = significant(row["eps"])
        table.add_row([eps, "attacked", *_cells(row["attacked"])])
        if row["certified"]:
            table.add_row([eps, "certified", *_cells(row["certified"])])
    return table.get_string()


def attack_class_table(report: dict[str, Any]) -> str:
    """Recall and IoU of each class in percent: clean, and attacked / certified at every eps."""
    rows = report["results"]
    keys = (("recall", "recall"), ("IoU", "iou"))
    titles = ("clean", *(significant(row["eps"]) for row in rows))
    table = PrettyTable(
        ["class", *(f"{title} {name}" for title, _ in keys for name in titles)], align="r"
    )
    table.align["class"] = "l"
    for name, clean in report["clean"]["per_class"].items():
        cells = [name]
        for _, key in keys:
            cells.append(percent_cell(clean[key]))
            for row in rows:
                cell = percent_cell(row["attacked"]["per_class"][name][key])
                if row["certified"]:
                    cell += f" / {percent_cell(row['certified']['per_class'][name][key])}"
                cells.append(cell)
        table.add_row(cells)
    return table.get_string()


def minimal_table(report: dict[str, Any]) -> str:
    """Norms that push pixel accuracy below a threshold: found, and certified as too small."""
    table = PrettyTable(["accuracy below", "median norm found", "median certified radius"])
    table.align = "r"
    for row in report["minimal"]:
        cells = (row["median_norm"], row["median_radius"])
        norms = ("-" if math.isnan(norm) else significant(norm) for norm in cells)
        table.add_row([f"{100 * row['threshold']:g}%", *norms])
    return table.get_string()


def _cells(figures: dict[str, Any]) -> list[str]:
    return [percent_cell(figures[key]) for _, key in _COLUMNS]
