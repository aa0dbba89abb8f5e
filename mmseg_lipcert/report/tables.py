"""The tables that a certification prints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prettytable import PrettyTable

from ..certificates.metrics import CLASS_METRICS, METRICS, Metric
from ..utils.rounding import mean_count, percent_cell, significant

#: Metrics of each class that tables show.
SHOWN_CLASS_METRICS = tuple(metric for metric in CLASS_METRICS if metric.shown)


def columns(results: Iterable[dict[str, Any]]) -> list[Metric]:
    """Figures that tables show and at least one of some results has."""
    present = {name for figures in results for name in figures}
    return [m for name, m in METRICS.items() if m.shown and name in present]


def cells(figures: dict[str, Any], metrics: Iterable[Metric]) -> list[str]:
    """Values in percent; "-" where there is none."""
    return [percent_cell(figures.get(metric.name), up=metric.highest) for metric in metrics]


def overview_table(certificate: dict[str, Any]) -> str:
    """Clean values and the guaranteed ones at every eps.

    Smoothed segmentors also have the values of their most frequent classes under noise, without
    attack and abstention. Only Lipschitz certificates, which hold for all images at once, have a
    worst image.
    """
    results = _results(certificate)
    shown = columns(figures for _, figures in results)
    table = PrettyTable(["eps", *(metric.title for metric in shown)], align="r")
    for title, figures in results:
        table.add_row([title, *cells(figures, shown)])
    return table.get_string()


def class_table(certificate: dict[str, Any]) -> str:
    """Metrics of each class, at every step of :func:`overview_table`."""
    results = _results(certificate)
    titles = [f"{metric.title} {name}" for metric in SHOWN_CLASS_METRICS for name, _ in results]
    table = PrettyTable(["class", *titles], align="r")
    table.align["class"] = "l"
    for name in certificate["clean"]["per_class"]:
        values = [
            percent_cell(figures["per_class"][name].get(metric.name))
            for metric in SHOWN_CLASS_METRICS
            for _, figures in results
        ]
        table.add_row([name, *values])
    return table.get_string()


def object_table(certificate: dict[str, Any]) -> str:
    """Detected objects and false alarms of the classes whose objects matter, clean and certified.

    Detected objects are in percent; false alarms are how many an image has at most, on average.
    """
    table = PrettyTable(
        ["class", "eps", "objects", "detected", "false alarms per image", "images without"],
        align="r",
    )
    table.align["class"] = "l"
    for row in object_rows(certificate):
        share = row["detected"] / row["objects"] if row["objects"] else None
        table.add_row(
            [
                row["class"],
                "clean" if row["eps"] is None else significant(row["eps"]),
                row["objects"],
                percent_cell(share),
                mean_count(row["false_alarms"]),
                percent_cell(row["alarm_free"]),
            ]
        )
    return table.get_string()


def object_rows(certificate: dict[str, Any]) -> list[dict[str, Any]]:
    """Per class whose objects matter, and without attack (``eps`` None) and per eps: figures."""
    regions = {row["class"]: row for row in certificate["regions"] or ()}
    rows = []
    for alarms in certificate["fabrication"] or ():
        if "clean" not in alarms:
            continue  # of an earlier version, which certified no detection
        found = regions[alarms["class"]]
        clean = {"eps": None, "detected": found["count"] - found["erased_free"], **alarms["clean"]}
        certified = [
            {**kept, **invented}
            for kept, invented in zip(found["certified"], alarms["certified"], strict=True)
        ]
        rows += [
            {"class": alarms["class"], "objects": found["count"], **row}
            for row in (clean, *certified)
        ]
    return rows


def _results(certificate: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Titles and figures: without attack, of smoothed segmentors under noise, at every eps."""
    results = [("clean", certificate["clean"])]
    if certificate.get("smoothing"):
        results.append(("noisy", certificate["smoothing"]["smoothed"]))
    return results + [(significant(row["eps"]), row) for row in certificate["certified"]]
