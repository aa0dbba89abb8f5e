"""What a certification has left in its folder, as the pages read it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .certificate_file import CERTIFICATE_SCHEMA


class StoredRun(NamedTuple):
    """A certificate and what lies beside it.

    Attributes:
        source: The certificate.json.
        digest: SHA-256 of the file.
        certificate: Its content.
        entries: Of the certified images, by name; None where the lines beside the certificate are
            not known to be those of its images.
    """

    source: Path
    digest: str
    certificate: dict[str, Any]
    entries: list[dict[str, Any]] | None


def certificate_path(path: str | os.PathLike[str]) -> Path:
    """The certificate that a path stands for: a file, or certificate.json in a folder.

    Raises:
        FileNotFoundError: If there is none.
    """
    path = Path(path)
    if path.is_file():
        return path
    if not (path / "certificate.json").is_file():
        raise FileNotFoundError(f"{path} has no certificate.json")
    return path / "certificate.json"


def read_run(path: str | os.PathLike[str]) -> StoredRun:
    """Read a certificate and the entries of its images.

    Args:
        path: A folder of results, or its certificate.json.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is not a certificate of a format that is known here.
    """
    source = certificate_path(path)
    content = source.read_bytes()
    try:
        certificate = json.loads(content)
        if not isinstance(certificate, dict) or certificate.get("schema") != 1:
            raise ValueError("'schema' must be 1")
        required = json.loads(CERTIFICATE_SCHEMA.read_text())["required"]
        missing = [key for key in required if key not in certificate]
        if missing:
            raise ValueError(f"{', '.join(missing)} missing")
        known = certificate["model"].get("data_sha256")
    except (AttributeError, ValueError) as error:
        raise ValueError(f"{source} is no complete certificate: {error}") from error
    entries = _entries(source.parent)
    # They can be of more, fewer or other images: of an interrupted run, or beside a copied file.
    complete = joint_digest(entries) == known
    digest = hashlib.sha256(content).hexdigest()
    return StoredRun(source, digest, certificate, entries if complete else None)


def joint_digest(entries: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of the names and digests of all images.

    Args:
        entries: With ``image`` and ``data_sha256``, in the order of the names.
    """
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry['data_sha256']}  {entry['image']}\n".encode())
    return digest.hexdigest()


def _entries(folder: Path) -> list[dict[str, Any]]:
    """The last complete line of every image, in the order of their names."""
    entries = {}
    for path in sorted(folder.glob("images.*.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                entries[entry["image"]] = {"data_sha256": entry["data_sha256"], **entry}
            except (ValueError, KeyError, TypeError):
                continue  # empty, or cut off by a crash: certified again in a later line
    return [entries[name] for name in sorted(entries)]


class ImageAccuracy(NamedTuple):
    """Pixel accuracy of one image.

    Attributes:
        name: Of the image.
        clean: Without attack, of the plain segmentor.
        certified: Guaranteed at each eps of the certificate.
    """

    name: str
    clean: float
    certified: tuple[float, ...]


def image_accuracies(entries: Sequence[Mapping[str, Any]]) -> list[ImageAccuracy]:
    """Accuracies of the images that have a label, the lowest guaranteed one first.

    They are in the order of the guarantee at the smallest eps, then of the clean accuracy.

    Args:
        entries: Of :func:`read_run`.
    """
    found = []
    for entry in entries:
        if not entry["valid"]:
            continue
        if "correct" in entry:  # of a Lipschitz certificate
            clean = entry["correct"]
            kept = [clean - lost for lost in entry["correct_lost"]]
        else:
            clean = sum(entry["clean"]["intersection"])
            kept = [sum(row["tp"]) - row["allowance"] for row in entry["certified"]]
        certified = tuple(max(0.0, pixels / entry["valid"]) for pixels in kept)
        found.append(ImageAccuracy(entry["image"], clean / entry["valid"], certified))
    return sorted(found, key=lambda image: (image.certified, image.clean, image.name))
