"""From the folder of a certification to a page that can be printed and filed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import UndefinedError

from ..visualization import guarantee_svg
from .pages import write_page
from .picture_files import data_uri, embedded, image_pictures
from .stored_run import StoredRun, certificate_path, image_accuracies, read_run
from .tables import SHOWN_CLASS_METRICS, columns, object_rows

#: Name of the page in the folder of a certification.
REPORT_NAME = "report.html"

# Images in the table of the worst, and of the best.
_EXTREMES = 5
_FILES = {
    "run.json": "the settings that decide the numbers",
    "audit.json": "the Lipschitz bound at the size of the first image",
    "images.*.jsonl": "the list of the images and the figures of each",
}


def write_html_report(folder: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` from ``certificate.json`` and what lies beside it.

    The page needs no other file and no network: pictures, styles and the script that sorts tables
    are inside. A page of an earlier certificate is removed before anything can fail.

    Args:
        folder: Of a certification by ``tools/test.py --certify``, or its certificate.json.

    Returns:
        The page.

    Raises:
        FileNotFoundError: If the folder has no certificate.json.
        ValueError: If certificate.json is not a certificate of a format that is known here.
    """
    source = certificate_path(folder)
    page = source.with_name(REPORT_NAME)
    page.unlink(missing_ok=True)
    run = read_run(source)
    try:
        write_page(page, "certificate.html.jinja", **_values(run))
    except (KeyError, TypeError, UndefinedError, ValueError) as error:
        raise ValueError(f"{source} is no complete certificate: {error}") from error
    return page


def _values(run: StoredRun) -> dict[str, Any]:
    certificate, folder = run.certificate, run.source.parent
    pictures = image_pictures(folder)
    curve = folder / "curve.png"
    objects = folder / "objects.png"
    # A smoothed certificate's curve.png shows what the first figure shows.
    shows_more = certificate["lipschitz"] is not None and curve.is_file()
    images = image_accuracies(run.entries or ())
    extreme = dict.fromkeys(image.name for image in (*images[:1], *images[-1:]))
    drawn = [name for name in extreme if name in pictures]
    # Without a picture of the worst or the best image the first by name is the example.
    examples = [path for name in drawn or [*pictures][:1] for path in pictures[name]]
    return dict(
        c=certificate,
        columns=columns([certificate["clean"], *certificate["certified"]]),
        class_metrics=SHOWN_CLASS_METRICS,
        digest=run.digest,
        figure=data_uri("image/svg+xml", guarantee_svg(certificate)),
        curve=embedded(curve) if shows_more else None,
        objects=object_rows(certificate),
        objects_figure=embedded(objects) if shows_more and objects.is_file() else None,
        ranked=len(images),
        extremes=[
            (image, [_link(path, folder) for path in pictures.get(image.name, ())])
            for image in dict.fromkeys([*images[:_EXTREMES], *images[-_EXTREMES:]])
        ],
        examples=[{**_link(path, folder), "content": embedded(path)} for path in examples],
        extreme_examples=bool(drawn),
        linked=[
            _link(path, folder)
            for paths in pictures.values()
            for path in paths
            if path not in examples
        ],
        files=[
            {**_link(path, folder), "content": content}
            for pattern, content in _FILES.items()
            for path in sorted(folder.glob(pattern))
        ],
        missing=_missing(certificate),
    )


def _link(path: Path, folder: Path) -> dict[str, str]:
    """Name and relative address of a file; quoted, so that no name can leave the folder."""
    name = path.relative_to(folder).as_posix()
    return dict(name=name, link=quote(name))


def _missing(certificate: dict[str, Any]) -> list[str]:
    """What an assessor may look for and certificate.json does not have."""
    recorded = {**certificate["model"], **certificate["environment"]}
    wanted = dict(
        date="date and time",
        command="the command that was run",
        data_sha256="a digest of the images and their labels",
    )
    if certificate["method"] == "denoise":
        wanted["denoiser_sha256"] = "a digest of the denoiser's weights"
    if "information_gain" in certificate["certified"][0]:
        recorded["hierarchy"] = certificate["smoothing"].get("hierarchy")
        wanted["hierarchy"] = "the groups of classes that pixels fall back to"
    missing = [text for key, text in wanted.items() if not recorded.get(key)]
    missing.append(
        "name, number of pixels and digest of each single image (its name, number of labeled "
        "pixels and digest are in images.*.jsonl)"
    )
    return missing
