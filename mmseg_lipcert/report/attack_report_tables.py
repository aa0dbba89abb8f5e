"""The tables that an attack prints."""

from __future__ import annotations

import math
from typing import Any

from prettytable import PrettyTable

from ..utils.rounding import percent_cell, significant
from .tables import SHOWN_CLASS_METRICS, cells, columns


def attack_table(report: dict[str, Any]) -> str:
    """Clean values, and at every eps the attacked ones above the certified ones, in percent."""
    shown = columns([report["clean"]])
    table = PrettyTable(["eps", "", *(metric.title for metric in shown)], align="r")
    table.add_row(["0", "clean", *cells(report["clean"], shown)])
    for row in report["results"]:
        eps = significant(row["eps"])
        table.add_row([eps, "attacked", *cells(row["attacked"], shown)])
        if row["certified"]:
            table.add_row([eps, "certified", *cells(row["certified"], shown)])
    return table.get_string()


def attack_class_table(report: dict[str, Any]) -> str:
    """Metrics of each class in percent: clean, and attacked / certified at every eps."""
    rows = report["results"]
    titles = ("clean", *(significant(row["eps"]) for row in rows))
    heads = (f"{metric.title} {name}" for metric in SHOWN_CLASS_METRICS for name in titles)
    table = PrettyTable(["class", *heads], align="r")
    table.align["class"] = "l"
    for name, clean in report["clean"]["per_class"].items():
        values = [name]
        for key in (metric.name for metric in SHOWN_CLASS_METRICS):
            values.append(percent_cell(clean[key]))
            for row in rows:
                cell = percent_cell(row["attacked"]["per_class"][name][key])
                if row["certified"]:
                    cell += f" / {percent_cell(row['certified']['per_class'][name][key])}"
                values.append(cell)
        table.add_row(values)
    return table.get_string()


def region_table(report: dict[str, Any]) -> str:
    """Norms that erase or invent objects: found, and certified as too small.

    At each eps: how many of the objects (for inventions: images) withstood the attack / are
    certified.
    """
    norms = [significant(row["eps"]) for row in report["results"]]
    heads = (f"withstood / certified {eps}" for eps in norms)
    table = PrettyTable(["attack", "class", "count", "median norm found", "median radius", *heads])
    table.align = "r"
    for row in report["regions"]:
        medians = (row["median_norm"], row["median_radius"])
        cells = ["-" if math.isnan(norm) else significant(norm) for norm in medians]
        for point in row["at_eps"]:
            certified = "-" if point["certified"] is None else point["certified"]
            cells.append(f"{point['withstood']} / {certified}")
        table.add_row([row["kind"], row["class"], row["count"], *cells])
    return table.get_string()


def minimal_table(report: dict[str, Any]) -> str:
    """Norms that push pixel accuracy below a threshold: found, and certified as too small."""
    table = PrettyTable(["accuracy below", "median norm found", "median certified radius"])
    table.align = "r"
    for row in report["minimal"]:
        medians = (row["median_norm"], row["median_radius"])
        norms = ("-" if math.isnan(norm) else significant(norm) for norm in medians)
        table.add_row([f"{100 * row['threshold']:g}%", *norms])
    return table.get_string()
