"""From the folder of a certification to a page that can be printed and filed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError

from ..utils.rounding import confidence, gray_levels, mean_count, percent, significant
from ..version import __version__
from ..visualization import guarantee_svg
from .certificate_file import CERTIFICATE_SCHEMA
from .picture_files import data_uri, embedded, image_pictures
from .tables import SHOWN_CLASS_METRICS, columns, object_rows

#: Name of the page in the folder of a certification.
REPORT_NAME = "report.html"

_TEMPLATE = Path(__file__).with_name("certificate.html.jinja")
_EXAMPLES = 2
_FILES = {
    "run.json": "the settings that decide the numbers",
    "audit.json": "the Lipschitz bound at the size of the first image",
    "images.*.jsonl": "the list of the images and the figures of each",
}


def write_html_report(folder: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` from ``certificate.json`` and the pictures beside it.

    The page needs no other file: no scripts, no network, pictures and styles inside. A page of an
    earlier certificate is removed before anything can fail.

    Args:
        folder: Of a certification by ``tools/test.py --certify``.

    Returns:
        The page.

    Raises:
        FileNotFoundError: If the folder has no certificate.json.
        ValueError: If certificate.json is not a certificate of a format that is known here.
    """
    folder = Path(folder)
    source = folder / "certificate.json"
    if not source.is_file():
        raise FileNotFoundError(f"{folder} has no certificate.json")
    page = folder / REPORT_NAME
    page.unlink(missing_ok=True)
    content = source.read_bytes()
    try:
        text = _page(_certificate(content), folder, hashlib.sha256(content).hexdigest())
    except (KeyError, TypeError, UndefinedError, ValueError) as error:
        raise ValueError(f"{source} is no complete certificate: {error}") from error
    partial = page.with_name(page.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(page)
    return page


def _certificate(content: bytes) -> dict[str, Any]:
    """The certificate, if it has all parts that its schema demands."""
    certificate = json.loads(content)
    if not isinstance(certificate, dict) or certificate.get("schema") != 1:
        raise ValueError("'schema' must be 1")
    required = json.loads(CERTIFICATE_SCHEMA.read_text())["required"]
    missing = [key for key in required if key not in certificate]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    return certificate


def _page(certificate: dict[str, Any], folder: Path, digest: str) -> str:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= dict(
        percent=percent,
        significant=significant,
        mean_count=mean_count,
        gray_levels=gray_levels,
        at_eps="ε\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{}".format,
    )
    environment.globals |= dict(confidence=confidence, significant=significant)
    pictures = image_pictures(folder)
    curve = folder / "curve.png"
    objects = folder / "objects.png"
    # A smoothed certificate's curve.png shows what the first figure shows.
    shows_more = certificate["lipschitz"] is not None and curve.is_file()
    return environment.get_template(_TEMPLATE.name).render(
        c=certificate,
        columns=columns([certificate["clean"], *certificate["certified"]]),
        class_metrics=SHOWN_CLASS_METRICS,
        digest=digest,
        version=__version__,
        figure=data_uri("image/svg+xml", guarantee_svg(certificate)),
        curve=embedded(curve) if shows_more else None,
        objects=object_rows(certificate),
        objects_figure=embedded(objects) if shows_more and objects.is_file() else None,
        examples=[
            {**_link(path, folder), "content": embedded(path)} for path in pictures[:_EXAMPLES]
        ],
        linked=[_link(path, folder) for path in pictures[_EXAMPLES:]],
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
