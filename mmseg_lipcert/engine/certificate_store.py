from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from .certification_error import CertificationError

# Its presence says that nothing in the folder is certified, its content why.
_VOID = "void.txt"


class CertificateStore:
    """The folder of one certification: what was asked, and what is finished.

    ``run.json`` holds the settings that decide the numbers; ``images.<rank>.jsonl`` one line per
    finished image, flushed when the image is done; ``certificates/*.npz`` its maps. A crash loses
    the image in work, nothing else.

    Args:
        folder (str | Path): Where everything is written.
        rank (int): Rank of this process; every process writes its own lines. Defaults to 0.
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
        record = self.folder / "run.json"
        if not record.exists():
            return {}
        if not resume:
            raise CertificationError(
                f"{self.folder} already holds a certification; continue it with --resume or "
                "choose another folder with --out"
            )
        before = json.loads(record.read_text())
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
        self.run = _digest(json.loads(json.dumps(settings)))
        if self.rank != 0 or self._continued:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with open(self.folder / "run.json", "x") as file:
                file.write(json.dumps(settings, indent=1))
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

        A line cut off by a crash is skipped, and so is an image whose maps are gone.

        Raises:
            CertificationError: If a line is no entry, or was made with other settings.
        """
        entries = {}
        for path in sorted(self.folder.glob("images.*.jsonl")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                try:
                    entry = json.loads(line)
                except json.JSONDecodeError:
                    continue
                if not isinstance(entry, dict) or "image" not in entry:
                    raise CertificationError(f"{path}, line {number} is no finished image")
                if entry.pop("run", None) != self.run and self.run is not None:
                    raise CertificationError(
                        f"{path}, line {number} was made with other settings than run.json says: "
                        "two certifications have written into one folder; choose another one"
                    )
                if self.map_path(entry["image"]).exists():
                    entries[entry["image"]] = entry
        return entries

    def add(self, entry: dict[str, Any], maps: dict[str, np.ndarray]) -> None:
        """Record one finished image: its maps first, then the line that says it is finished."""
        path = self.map_path(entry["image"])
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez_compressed(partial, **maps)
        partial.replace(path)
        with open(self.folder / f"images.{self.rank}.jsonl", "a") as file:
            # Starts with a line break: a line that a crash cut off stays a line of its own.
            file.write("\n" + json.dumps({**entry, "run": self.run}))
            file.flush()
            os.fsync(file.fileno())

    def map_path(self, image: str) -> Path:
        """File of the maps of one image."""
        return self.folder / "certificates" / f"{image}.npz"

    def write(self, name: str, text: str) -> Path:
        """Write a report file as a whole: a crash leaves the old file or the new one."""
        path = self.folder / name
        _write_whole(path, text)
        return path


def _digest(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _shown(value: Any) -> str:
    """A setting in a message; a digest says no more than that it is another one."""
    text = repr(value)
    return f"digest {text[1:9]}..." if isinstance(value, str) and len(value) == 64 else text


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)
