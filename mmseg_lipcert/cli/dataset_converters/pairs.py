"""Images and their labels: what every converter looks for, and writes into the configs' layout."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import mmcv
import numpy as np
from mmengine.utils import track_iter_progress

from ...datasets.transforms.naming import name_unreadable
from ...utils.failures import work_begins
from ...utils.user_error import UserError


class Pair(NamedTuple):
    """An image of a split and the file with its labels."""

    split: str
    image: Path
    labels: Path


def converter_parser(description: str | None, source: str, out: str) -> argparse.ArgumentParser:
    """A command line with the two arguments of every converter.

    Args:
        description: What the converter does.
        source: What the source is.
        out: Where the result is written by default.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help=source)
    parser.add_argument("--out", type=Path, default=Path(out), help="default: %(default)s")
    return parser


def check_there(paths: Iterable[Path], expected: str) -> None:
    """Refuse a source of which a part is missing.

    Args:
        paths: Folders and files of the source.
        expected: What the source must be, for the message.

    Raises:
        FileNotFoundError: If one of them is not there.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise FileNotFoundError(f"no {', '.join(missing)}: {expected}")


def list_images(folder: Path, suffix: str) -> list[Path]:
    """List the images of a folder in the order of their names.

    Raises:
        FileNotFoundError: If there is none.
    """
    images = sorted(folder.glob(f"*{suffix}"))
    if not images:
        raise FileNotFoundError(f"no {suffix} images in {folder}")
    return images


def read_pixels(path: Path, flag: str = "color") -> np.ndarray:
    """Read an image file as uint8: (H, W, 3) BGR, (H, W) gray, or unchanged.

    Raises:
        ValueError: If it is damaged; the message names it.
    """
    with name_unreadable(str(path), "image"):
        return mmcv.imread(str(path), flag=flag, backend="pillow")


def read_ids(path: Path, ids: range) -> np.ndarray:
    """Read labels (H, W) uint8.

    Args:
        path: The file.
        ids: Ids that it may have.

    Raises:
        UserError: If it has several channels, or other ids.
    """
    labels = read_pixels(path, "unchanged")
    if labels.ndim != 2 or not np.isin(labels, ids).all():
        raise UserError(
            f"{path}: expected one channel with ids {ids[0]}..{ids[-1]}, got shape {labels.shape} "
            f"and values {labels.min()}..{labels.max()}"
        )
    return labels


def write_pairs(
    pairs: Sequence[Pair],
    out: Path,
    read_labels: Callable[[Path], np.ndarray],
    label_folder: str = "ann_dir",
) -> None:
    """Copy the images to ``img_dir/SPLIT`` and write their labels to ``ann_dir/SPLIT`` as PNG.

    Done again, it writes the same files again. A GIF file, whatever its name, becomes a PNG file of
    that name and with the same pixels, because not every OpenCV reads GIF.

    Args:
        pairs: What to write.
        out: The folder.
        read_labels: Reads a file of labels as ids (H, W) uint8.
        label_folder: Name of the folder of the labels.

    Raises:
        FileNotFoundError: If an image or its labels are missing; before anything is written.
        UserError: If labels are not of the size of their image.
    """
    for pair in pairs:
        for file in (pair.image, pair.labels):
            if not file.is_file():
                raise FileNotFoundError(f"image {pair.image} and labels {pair.labels}: no {file}")
    work_begins()
    for split, image, label_file in track_iter_progress(pairs):
        pixels, labels = read_pixels(image), read_labels(label_file)
        if labels.shape != pixels.shape[:2]:
            raise UserError(
                f"{label_file}: labels of {labels.shape} for an image of {pixels.shape[:2]}"
            )
        content = image.read_bytes()
        if content.startswith(b"GIF8"):
            content = cv2.imencode(".png", pixels)[1].tobytes()
        mmcv.imwrite(labels, str(out / label_folder / split / f"{label_file.stem}.png"))
        (out / "img_dir" / split).mkdir(parents=True, exist_ok=True)
        (out / "img_dir" / split / image.name).write_bytes(content)
    print(f"\n{len(pairs)} images in {out}")
