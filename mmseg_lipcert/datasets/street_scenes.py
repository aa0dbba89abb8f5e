"""Labelled street scenes that need no download."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from mmengine.utils import track_iter_progress

from ..utils.failures import blame, work_begins
from .scenes import render_scene

# Raise whenever the same seed gives other pictures.
GENERATOR_VERSION = 1
CITY = "lipcert"
RECORD = "scenes.json"


def generate_street_scene(
    seed: int, index: int, size: tuple[int, int] = (256, 512), split: str = "train"
) -> tuple[np.ndarray, np.ndarray]:
    """Generate one labelled street scene.

    The result depends on the arguments alone, not on other images or their number.

    Args:
        seed: Seed of the whole data set, >= 0.
        index: Number of the image in its split, >= 0.
        size: Height and width in pixels, each at least 32.
        split: Name of the split; splits share no scene.

    Returns:
        The image (H, W, 3) uint8 RGB, and the train ids of Cityscapes (H, W) uint8: 0..18, 255
        for void.

    Raises:
        ValueError: If an argument is out of range.
    """
    _check_arguments(seed, index, size)
    rng = np.random.default_rng([seed, zlib.crc32(split.encode()), index])
    return render_scene(rng, size)


def scene_paths(root: Path, split: str, index: int) -> tuple[Path, Path]:
    """Paths of the image and the label file of a scene, in the layout of Cityscapes."""
    stem = f"{CITY}_{index // 1000:06d}_{index % 1000:06d}"
    return (
        root / "leftImg8bit" / split / CITY / f"{stem}_leftImg8bit.png",
        root / "gtFine" / split / CITY / f"{stem}_gtFine_labelTrainIds.png",
    )


def write_street_scenes(
    root: Path | str,
    counts: Mapping[str, int],
    seed: int = 0,
    size: tuple[int, int] = (256, 512),
) -> int:
    """Write the scenes that are not there yet, in the folder layout of Cityscapes.

    ``scenes.json`` in ``root`` records seed, size and version, so that one folder never mixes two
    data sets. Scenes can be added to a folder later; nothing is ever deleted. Shows a progress bar.

    Args:
        root: Folder; created if it does not exist.
        counts: Number of scenes per split, for example ``{'train': 400, 'val': 40}``.
        seed: Seed of the data set.
        size: Height and width in pixels.

    Returns:
        How many scenes were written; 0 if all were there.

    Raises:
        ValueError: If ``root`` holds scenes of another seed, size or version, or if an argument is
            out of range.
    """
    root = Path(root)
    for split, count in counts.items():
        if count < 0:
            raise ValueError(f"the number of {split} scenes must be >= 0, got {count}")
    _check_arguments(seed, 0, size)
    _check_record(root, {"version": GENERATOR_VERSION, "seed": seed, "size": list(size)})
    missing = [
        (split, index)
        for split, count in counts.items()
        for index in range(count)
        if not all(path.is_file() for path in scene_paths(root, split, index))
    ]
    if missing:
        work_begins()
        for split, index in track_iter_progress(missing):
            image, labels = generate_street_scene(seed, index, size, split)
            image_path, label_path = scene_paths(root, split, index)
            _write_png(image_path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            _write_png(label_path, labels)
    return len(missing)


def _check_arguments(seed: int, index: int, size: tuple[int, int]) -> None:
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed must be from 0 to 2**64 - 1, got {seed}")
    if index < 0:
        raise ValueError(f"index must be >= 0, got {index}")
    if len(size) != 2 or min(size) < 32:
        raise ValueError(f"size must be (height, width), each at least 32, got {tuple(size)}")


def _check_record(root: Path, record: dict) -> None:
    """Compare ``record`` with the one in ``root``, or leave it there."""
    path = root / RECORD
    if path.is_file():
        with blame(f"{path} is no record of scenes: delete it, or choose another folder"):
            found = json.loads(path.read_text())
        if found != record:
            raise ValueError(
                f"{root} holds scenes made with {found}, not with {record}: choose another folder "
                "or delete this one"
            )
        return
    root.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record) + "\n")


def _write_png(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Renamed when complete: an interrupted run leaves no half a file that the next would keep.
    partial = path.with_suffix(".part")
    partial.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    partial.replace(path)
