from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.whole_file import whole_file
from .certification_error import CertificationError

# Its presence says that nothing in the folder is certified, its content why.
_VOID = "void.txt"


class CertificateStore:
    """The folder of one certification: what was asked, and what is finished.

    ``run.json`` holds the settings that decide the numbers; ``images.<rank>.jsonl`` one line per
    finished image with a digest of itself, flushed when the image is done; ``certificates/*.npz``
    its maps. A crash loses the image in work, nothing else; what is damaged is done again.

    Args:
        folder: Where everything is written.
        rank: Rank of this process; every process writes its own lines. Defaults to 0.
    """

    def __init__(self, folder: str | os.PathLike[str], rank: int = 0) -> None:
        self.folder = Path(folder)
        self.rank = rank
        #: Digest of the settings; every line carries it.
        self.run: str | None = None
        self._continued = False

    def open(self, settings: dict[str, Any], resume: bool) -> dict[str, dict]:
        """Look at what is there, and write nothing.

        Args:
            settings: What decides the numbers: method, eps, checkpoint, model and data.
            resume: Whether finished images may be there already.

        Returns:
            The entries of the finished images by image name; empty for a new certification.

        Raises:
            CertificationError: If results are there but ``resume`` is not asked for, or if they
                were made with other settings, or are void.
        """
        void = self.folder / _VOID
        if void.exists():
            raise CertificationError(
                f"the certification in {self.folder} is void: {void.read_text()}; choose another "
                "folder with --out"
            )
        settings = json.loads(json.dumps(settings))
        self.run = _digest(settings)
        if not (self.folder / "run.json").exists() and not list(self._records()):
            return {}
        if not resume:
            raise CertificationError(
                f"{self.folder} already holds a certification; continue it with --resume or "
                "choose another folder with --out"
            )
        # Damaged settings are written anew: every finished image says which ones were its own.
        before = self.read("run.json") or settings
        changed = [
            f"{key} was {_shown(before.get(key))}, now {_shown(settings.get(key))}"
            for key in sorted({*before, *settings})
            if before.get(key) != settings.get(key)
        ]
        if changed:
            raise CertificationError(
                f"cannot resume {self.folder} with other settings: {'; '.join(changed)}"
            )
        self._continued = True
        return self.finished()

    def begin(self, settings: dict[str, Any]) -> None:
        """Record what decides the numbers; from now on the folder belongs to this certification.

        Called after all checks, so that what fails before the first image leaves no trace; by every
        process, of which the first one writes.

        Raises:
            CertificationError: If another certification has begun there since :meth:`open`.
        """
        text = json.dumps(settings, indent=1)
        self.run = _digest(json.loads(text))
        if self.rank != 0:
            return
        if self._continued:
            if not self.read("run.json"):
                self.write("run.json", text)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with open(self.folder / "run.json", "x") as file:
                file.write(text)
        except FileExistsError as error:
            raise CertificationError(
                f"another certification has just begun in {self.folder}; choose another folder "
                "with --out"
            ) from error

    def void(self, reason: str) -> None:
        """Make the folder unusable: what was certified before a mistake was seen is void, too."""
        self.write(_VOID, reason)

    def finished(self) -> dict[str, dict]:
        """Entries of the finished images by image name.

        Damaged lines are skipped, as a crash leaves them, and so are images whose maps are gone:
        they are done again.

        Raises:
            CertificationError: If a line was made with other settings.
        """
        entries = {}
        for path, number, line in self._records():
            entry = _read_object(line)
            if entry.pop("digest", None) != _digest(entry):
                continue
            if entry.pop("run") != self.run and self.run is not None:
                raise CertificationError(
                    f"{path}, line {number} was made with other settings than run.json says: "
                    "two certifications have written into one folder; choose another one"
                )
            if zipfile.is_zipfile(self.map_path(entry["image"])):
                entries[entry["image"]] = entry
        return entries

    def _records(self) -> Iterator[tuple[Path, int, str]]:
        """Lines of finished images, with their file and number."""
        for path in sorted(self.folder.glob("images.*.jsonl")):
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                if line:
                    yield path, number, line

    def add(self, entry: dict[str, Any], maps: dict[str, np.ndarray]) -> None:
        """Record one finished image: its maps first, then the line that says it is finished."""
        with whole_file(self.map_path(entry["image"])) as path, open(path, "wb") as file:
            np.savez_compressed(file, **maps)
        # As it will be read.
        entry = json.loads(json.dumps({**entry, "run": self.run}))
        with open(self.folder / f"images.{self.rank}.jsonl", "a") as file:
            # Starts with a line break: a line that a crash cut off stays a line of its own.
            file.write("\n" + json.dumps({**entry, "digest": _digest(entry)}))
            file.flush()
            os.fsync(file.fileno())

    def map_path(self, image: str) -> Path:
        """File of the maps of one image."""
        return self.folder / "certificates" / f"{image}.npz"

    def read(self, name: str) -> dict[str, Any]:
        """The object in a JSON file; empty if there is none, or a damaged one."""
        path = self.folder / name
        return _read_object(path.read_text(errors="replace")) if path.exists() else {}

    def write(self, name: str, text: str) -> Path:
        """Write a report file as a whole: a crash leaves the old file or the new one."""
        path = self.folder / name
        with whole_file(path) as partial:
            partial.write_text(text)
        return path


def _read_object(text: str) -> dict[str, Any]:
    """The object in a JSON text; empty if it is damaged or something else."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _digest(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _shown(value: Any) -> str:
    """A setting in a message; a digest says no more than that it is another one."""
    text = repr(value)
    return f"digest {text[1:9]}..." if isinstance(value, str) and len(value) == 64 else text
