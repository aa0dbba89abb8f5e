"""Files that are there as a whole or not at all, whenever a run is killed or a disk is full."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path to write to, which takes the place of the file when everything is written.

    Args:
        path: The file; its folder is made if needed.

    Raises:
        OSError: If it cannot be written; it names the file, also where the device is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        # What fails in the middle of writing, as for want of space, does not say where.
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise
