"""The pictures in the folder of a certification, found and made small enough to embed."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image


def image_pictures(folder: Path) -> dict[str, list[Path]]:
    """Find the pictures of the certified images, of ``--show-dir`` in or below the folder.

    Only files named after a certified image count: the folder may hold other pictures.

    Args:
        folder: Of the certification, with ``certificates/IMAGE.npz``.

    Returns:
        Files per image that has any, in order of the names; ``IMAGE_regions.png`` follows
        ``IMAGE.png``.
    """
    maps = folder / "certificates"
    names = sorted(
        path.relative_to(maps).with_suffix("").as_posix() for path in maps.rglob("*.npz")
    )
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and path != maps)]
    candidates = {
        name: [place / f"{name}{kind}.png" for place in places for kind in ("", "_regions")]
        for name in names
    }
    found = {name: [p for p in paths if p.is_file()] for name, paths in candidates.items()}
    return {name: paths for name, paths in found.items() if paths}


def embedded(path: Path, width: int = 1000) -> str:
    """Read a picture as a data URI, not wider than ``width`` pixels.

    A palette of 256 colors keeps text and lines sharp at a fraction of the size.
    """
    with Image.open(path) as source:
        picture = source.convert("RGB")
    picture.thumbnail((width, 10 * width))
    buffer = io.BytesIO()
    picture.quantize(256).save(buffer, format="PNG", optimize=True)
    return data_uri("image/png", buffer.getvalue())


def data_uri(media_type: str, content: bytes) -> str:
    """Write bytes as a data URI, which a page can hold instead of a link."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
