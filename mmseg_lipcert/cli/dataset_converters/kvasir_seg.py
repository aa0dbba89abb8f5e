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

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...utils.failures import one_line_errors
from ...utils.user_error import UserError
from .pairs import Pair, check_there, converter_parser, list_images, read_pixels, write_pairs

TEST_IMAGES = 120
POLYP = 128


def find_pairs(source: Path, test_images: int) -> list[Pair]:
    """List the pairs of an unpacked archive.

    Args:
        source: The folder with ``images`` and ``masks``.
        test_images: How many of the last images are the test part.

    Raises:
        FileNotFoundError: If a folder is missing, or has no images.
        UserError: If so many test images leave none for training.
    """
    check_there([source / "images", source / "masks"], f"{source} must be the unpacked Kvasir-SEG")
    images = list_images(source / "images", ".jpg")
    if not 0 < test_images < len(images):
        raise UserError(
            f"of {len(images)} images 1 to {len(images) - 1} can be for testing, got {test_images}"
        )
    train = len(images) - test_images
    return [
        Pair("train" if number < train else "test", image, source / "masks" / image.name)
        for number, image in enumerate(images)
    ]


def read_mask(path: Path) -> np.ndarray:
    """Read a mask as a (H, W) uint8 map of background 0 and polyp 1."""
    return (read_pixels(path, "grayscale") >= POLYP).astype(np.uint8)


@one_line_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Run the converter from the command line."""
    parser = converter_parser(
        __doc__, "the unpacked archive: images/ and masks/", "data/kvasir_seg"
    )
    parser.add_argument(
        "--test-images",
        type=int,
        default=TEST_IMAGES,
        metavar="N",
        help="how many of the last images are the test part (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    write_pairs(find_pairs(args.source, args.test_images), args.out, read_mask)
