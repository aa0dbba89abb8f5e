"""Convert Kvasir-SEG from its published archive to the layout of MMSegmentation.

Get ``kvasir-seg.zip`` from datasets.simula.no/kvasir-seg and unpack it, then::

    lipcert kvasir-seg Kvasir-SEG --out data/kvasir_seg

``images/*.jpg`` becomes ``img_dir/{train,test}`` (copied). ``masks/*.jpg`` becomes
``ann_dir/{train,test}`` as PNG files: JPEG has blurred the masks, so that a pixel is polyp (1) from
128 on, else background (0). ``kavsir_bboxes.json`` is not used.

The archive has no split. Here the last 120 images in the order of their names are the test part and
the first 880 are for training; the names are random, so the order is too. Figures of papers with
another split are not comparable. Running it again writes the same files again.
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

TEST_IMAGES = 120
POLYP = 128


def find_pairs(source: Path, test_images: int) -> list[tuple[str, Path, Path]]:
    """List (split, image, mask) of an unpacked archive.

    Args:
        source: The folder with ``images`` and ``masks``.
        test_images: How many of the last images are the test part.

    Raises:
        FileNotFoundError: If a folder, or the mask of an image, is missing.
        UserError: If so many test images leave none for training.
    """
    missing = [str(source / name) for name in ("images", "masks") if not (source / name).is_dir()]
    if missing:
        raise FileNotFoundError(
            f"no folder {', '.join(missing)}: {source} must be the unpacked Kvasir-SEG"
        )
    images = sorted((source / "images").glob("*.jpg"))
    if not images:
        raise FileNotFoundError(f"no .jpg images in {source / 'images'}")
    if not 0 < test_images < len(images):
        raise UserError(
            f"of {len(images)} images 1 to {len(images) - 1} can be for testing, got {test_images}"
        )
    pairs = []
    for number, image in enumerate(images):
        mask = source / "masks" / image.name
        if not mask.is_file():
            raise FileNotFoundError(f"image {image} has no mask {mask}")
        pairs.append(("train" if number < len(images) - test_images else "test", image, mask))
    return pairs


def convert_mask(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Read a mask as a (H, W) uint8 map of background 0 and polyp 1.

    Raises:
        UserError: If it has another size than its image.
    """
    mask = mmcv.imfrombytes(path.read_bytes(), flag="grayscale")
    if mask.shape != size:
        raise UserError(f"{path}: a mask of {mask.shape} for an image of {size}")
    return (mask >= POLYP).astype(np.uint8)


def convert(source: Path, out: Path, test_images: int = TEST_IMAGES) -> int:
    """Convert both parts and return the number of images."""
    pairs = find_pairs(source, test_images)
    work_begins()
    for split in ("train", "test"):
        (out / "img_dir" / split).mkdir(parents=True, exist_ok=True)
        (out / "ann_dir" / split).mkdir(parents=True, exist_ok=True)
    for split, image, mask in track_iter_progress(pairs):
        size = mmcv.imfrombytes(image.read_bytes()).shape[:2]
        labels = out / "ann_dir" / split / f"{mask.stem}.png"
        mmcv.imwrite(convert_mask(mask, size), str(labels))
        shutil.copyfile(image, out / "img_dir" / split / image.name)
    return len(pairs)


@one_line_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Run the converter from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="the unpacked archive: images/ and masks/")
    parser.add_argument(
        "--out", type=Path, default=Path("data/kvasir_seg"), help="default: %(default)s"
    )
    parser.add_argument(
        "--test-images",
        type=int,
        default=TEST_IMAGES,
        metavar="N",
        help="how many of the last images are the test part (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    count = convert(args.source, args.out, args.test_images)
    print(f"\n{count} images in {args.out}")
