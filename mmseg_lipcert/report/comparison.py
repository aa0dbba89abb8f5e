"""Several certificates side by side: one table, one figure, and what does not compare."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prettytable import PrettyTable

from ..certificates import dataset_summary, smoothing_summary
from ..utils.rounding import confidence, percent_cell, significant
from ..visualization import save_comparison_figure
from .certificate_file import certificate_json, named_classes
from .pages import write_page
from .picture_files import embedded
from .stored_run import StoredRun, certificate_path, read_run


class Comparison:
    """Certificates that may stand in one table.

    Args:
        paths: Folders of results, or their certificate.json, at least two.
        common: Take only the images that all of them have, as if only these had been certified.
            Defaults to False: each its own images, and the table says how many.

    Raises:
        FileNotFoundError: If there is no certificate.
        ValueError: If a file is no certificate, or if a comparison would be false: other classes,
            norms, units, or places of the perturbation; no image in common, or images whose labels
            count differently; no labels; an invalid certificate.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]], *, common: bool = False) -> None:
        if len(paths) < 2:
            raise ValueError(f"a comparison needs at least two certificates, got {len(paths)}")
        sources = [certificate_path(path) for path in paths]
        self.runs = dict(zip(_names(sources), map(read_run, sources), strict=True))
        _check_same({name: _conventions(run) for name, run in self.runs.items()})
        for name, run in self.runs.items():
            _check_valid(name, run.certificate)
        #: Digests of the images that all have; None if some do not say which they have.
        self.shared = _shared_images(self.runs)
        self.common = common
        if common:
            if self.shared is None:
                unknown = [name for name, run in self.runs.items() if run.entries is None]
                raise ValueError(
                    f"{', '.join(unknown)}: its images.*.jsonl must lie beside certificate.json "
                    "to tell which images all certificates have"
                )
            self.runs = {name: _restricted(run, self.shared) for name, run in self.runs.items()}
        self.certificates = {name: run.certificate for name, run in self.runs.items()}
        #: Whether all are known to be of the same images.
        self.same_images = _same_images(self.runs.values())

    def rows(self) -> list[dict[str, Any]]:
        """One row per certificate and norm: what it is, of which images, and its figures."""
        return [
            {
                "name": name,
                "method": certificate["method"],
                "images": certificate["images"],
                "shared": None if self.shared is None else len(self.shared),
                "guarantee": guarantee(certificate),
                "eps": row["eps"],
                "clean": certificate["clean"]["pixel_accuracy"],
                "noisy": certificate["smoothing"]
                and certificate["smoothing"]["smoothed"]["pixel_accuracy"],
                "certified": row["pixel_accuracy"],
                "mIoU": row["mIoU"],
                "abstain": row.get("abstain"),
                **certificate["cost"],
            }
            for name, certificate in self.certificates.items()
            for row in certificate["certified"]
        ]

    def notes(self) -> list[str]:
        """What a reader must know before rows are compared."""
        notes = []
        if self.common:
            images = next(iter(self.certificates.values()))["images"]
            notes.append(
                f"On the {images} images that all certificates have: figures of a certificate of "
                "more images are other ones."
            )
        if not self.same_images:
            counts = ", ".join(f"{name}: {c['images']}" for name, c in self.certificates.items())
            known = (
                "which of them all have is not known"
                if self.shared is None
                else f"{len(self.shared)} of them are in all certificates; --common compares these"
            )
            notes.append(f"Different images: {counts}; {known}.")
        guarantees = {name: guarantee(c) for name, c in self.certificates.items()}
        if len(set(guarantees.values())) > 1:
            said = ", ".join(f"{name}: {text}" for name, text in guarantees.items())
            notes.append(f"Different guarantees: {said}.")
        places = {_place(c) for c in self.certificates.values()}
        if len(places) > 1:
            notes.append(
                "Some norms are those of the image that the test pipeline made of the file: they "
                "compare only if it resizes nothing."
            )
        return notes

    def table(self) -> str:
        """The rows and notes as text, shares in percent."""
        table = PrettyTable(
            ["", "images", "guarantee", "eps", "clean", "noisy", "certified", "mIoU", "abstain"]
            + ["passes"],
            align="r",
        )
        table.align[""] = "l"
        for row in self.rows():
            table.add_row(
                [
                    row["name"],
                    row["images"],
                    row["guarantee"],
                    significant(row["eps"]),
                    *(percent_cell(row[key]) for key in ("clean", "noisy", "certified", "mIoU")),
                    percent_cell(row["abstain"], up=True),
                    row["forward_passes_per_image"],
                ]
            )
        return "\n".join([table.get_string(), *self.notes()])

    def write(self, page: Path) -> Path:
        """Write the page, and the figure as a PNG of the same name.

        Args:
            page: HTML file; its folder is made if needed.

        Returns:
            The PNG.
        """
        figure = page.with_suffix(".png")
        counts = sorted({c["images"] for c in self.certificates.values()})
        save_comparison_figure(
            figure,
            {f"{name}: {guarantee(c)}": c for name, c in self.certificates.items()},
            f"{counts[0]} image{'s' if counts[0] != 1 else ''}"
            if self.same_images
            else f"different images ({counts[0]} to {counts[-1]}): see the table",
        )
        write_page(
            page,
            "comparison.html.jinja",
            rows=self.rows(),
            runs=self.runs,
            notes=self.notes(),
            same_images=self.same_images,
            figure=embedded(figure),
        )
        return figure


def guarantee(certificate: Mapping[str, Any]) -> str:
    """With which probability the figures hold, and of what."""
    if not certificate["smoothing"]:
        return "certain"
    sure = confidence(certificate["smoothing"]["alpha"])
    metric = certificate["smoothing"]["correction"] == "metric"
    return f"{sure}, all images" if metric else f"{sure} per image"


def _names(sources: Sequence[Path]) -> list[str]:
    """What tells the files apart: a file's name, the folder of a certificate.json, or more."""
    paths = [path.resolve() for path in sources]
    for number, path in enumerate(paths):
        if path in paths[:number]:
            raise ValueError(f"{path} is given twice")
    parts = [
        (path.parent if path.name == "certificate.json" else path.with_suffix("")).parts
        for path in paths
    ]
    names = [""]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _place(certificate: Mapping[str, Any]) -> str:
    """Of which image the norm is."""
    if not certificate["smoothing"]:
        return "resized image" if certificate["lipschitz"]["resized_images"] else "image file"
    at_file = certificate["smoothing"]["noise_at"] == "original"
    return "image file" if at_file else "image of the test pipeline"


def _conventions(run: StoredRun) -> dict[str, str]:
    """What must be the same in all certificates, as a reader would say it."""
    certificate = run.certificate
    return {
        "norm": certificate["norm"],
        "units": certificate["units"],
        "classes": ", ".join(certificate["clean"]["per_class"]),
    }


def _check_same(conventions: Mapping[str, Mapping[str, str]]) -> None:
    (first, expected), *others = conventions.items()
    for name, found in others:
        for what, value in found.items():
            if value != expected[what]:
                raise ValueError(
                    f"{name} and {first} do not compare, their {what} differ: {value}; "
                    f"{expected[what]}"
                )


def _check_valid(name: str, certificate: Mapping[str, Any]) -> None:
    if certificate["clean"]["pixel_accuracy"] is None:
        raise ValueError(f"{name} has no accuracy to compare: none of its images has a label")
    bound = certificate["lipschitz"]
    if bound and bound["lower_bound"] > bound["bound"]:
        raise ValueError(
            f"{name} is invalid: the measured lower bound {bound['lower_bound']} exceeds the bound "
            f"{bound['bound']}"
        )


def _shared_images(runs: Mapping[str, StoredRun]) -> set[str] | None:
    """Digests of the images and labels that all runs have; None if one of them does not say.

    Raises:
        ValueError: If there is none, or if the labels of one count differently.
    """
    places = {name: _place(run.certificate) for name, run in runs.items()}
    if {"image file", "resized image"} <= set(places.values()):
        said = ", ".join(f"{name}: {place}" for name, place in places.items())
        raise ValueError(f"norms of different images do not compare ({said})")
    shared: Mapping[str, Mapping[str, Any]] = {}
    for number, (name, run) in enumerate(runs.items()):
        if run.entries is None:
            return None
        found = {entry["data_sha256"]: entry for entry in run.entries}
        for digest, entry in found.items():
            if digest in shared and shared[digest]["valid"] != entry["valid"]:
                raise ValueError(
                    f"{name} counts {entry['valid']} labeled pixels of {entry['image']}, the "
                    f"certificates before it {shared[digest]['valid']}: they ignore other labels"
                )
        shared = found if number == 0 else {d: e for d, e in shared.items() if d in found}
        if not shared:
            raise ValueError(f"{name} has no image in common with the certificates before it")
    return set(shared)


def _same_images(runs: Iterable[StoredRun]) -> bool:
    """Whether all are of the same images, whatever these are called; False if it is not known."""
    known = {run.certificate["model"].get("data_sha256") for run in runs}
    if len(known) == 1:
        return None not in known
    listed = [run.entries and sorted(entry["data_sha256"] for entry in run.entries) for run in runs]
    return None not in listed and all(images == listed[0] for images in listed)


def _restricted(run: StoredRun, images: Iterable[str]) -> StoredRun:
    """The certificate as if only some of its images had been certified."""
    entries = [entry for entry in run.entries or () if entry["data_sha256"] in set(images)]
    certificate = run.certificate
    classes = list(certificate["clean"]["per_class"])
    try:
        summarize: Any = smoothing_summary if certificate["smoothing"] else dataset_summary
        summary = summarize(entries)
    except KeyError as error:
        raise ValueError(
            f"the lines of the images beside {run.source} lack {error}: they are of an earlier "
            "version; certify again to take only some of them"
        ) from error
    if certificate["smoothing"]:
        settings = certificate["smoothing"]
        smoothed = {**settings["smoothed"], **named_classes(summary["smoothed"], classes)}
        changes: dict[str, Any] = {"smoothing": {**settings, "smoothed": smoothed}}
        changes["accuracy_curve"] = summary["curve"]
    else:
        changes = {"accuracy_curve": summary["accuracy_curve"]}
    changes["images"] = len(entries)
    changes["clean"] = {**certificate["clean"], **named_classes(summary["clean"], classes)}
    changes["certified"] = [named_classes(row, classes) for row in summary["certified"]]
    certificate = json.loads(certificate_json({**certificate, **changes}))
    return run._replace(certificate=certificate, entries=entries)
