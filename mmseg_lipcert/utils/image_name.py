"""Names of images in results, artifacts and random streams."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def image_name(path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> str:
    """Path of an image without root and extension, with forward slashes.

    Args:
        path: Of the image file.
        root: The dataset's image folder; a path outside of it is kept whole. Defaults to None.

    Raises:
        ValueError: If the path is not UTF-8.
    """
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the name of the image {os.fsencode(path)!r} is not UTF-8, which results are written "
            "in: rename it"
        ) from error
    path = Path(path)
    if root is not None and path.is_relative_to(root):
        path = path.relative_to(root)
    return path.with_suffix("").as_posix().lstrip("/")


def check_unique(names: Mapping[str, str]) -> None:
    """Refuse images that would share their results and their noise.

    Args:
        names: Name of each image by its path.

    Raises:
        ValueError: If two have the same, naming both.
    """
    first: dict[str, str] = {}
    for path, name in names.items():
        if first.setdefault(name, path) != path:
            raise ValueError(
                f"{first[name]} and {path} are both called {name} in the results: rename one"
            )
