"""Convert Oxford-IIIT Pets from its published archives to the layout of MMSegmentation.

Get ``images.tar.gz`` and ``annotations.tar.gz`` from www.robots.ox.ac.uk/~vgg/data/pets and unpack
both into one folder, then::

    lipcert oxford-pets oxford-iiit-pet --out data/oxford_pets

The images that ``annotations/trainval.txt`` and ``test.txt`` list become ``img_dir/{train,test}``
(copied), and ``annotations/trimaps`` become ``ann_dir/{train,test}`` with pet 1 and background 2 ->
0. Border 3, which the publication calls "not classified", is void: neither trained nor counted.

With ``--breeds`` pixels of a pet have the id of its breed, 1 to 37, which the name of the image
tells; they are written to ``breed_dir`` and leave ``ann_dir`` alone. Running it again writes the
same files again.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...datasets import OxfordPetBreedsDataset
from ...utils.failures import one_line_errors
from ...utils.user_error import UserError
from .pairs import Pair, check_there, converter_parser, read_ids, write_pairs

LISTS = {"train": "trainval.txt", "test": "test.txt"}
VOID = 255
BREEDS = OxfordPetBreedsDataset.METAINFO["classes"]


def find_pairs(source: Path) -> list[Pair]:
    """List the pairs of the unpacked archives.

    Args:
        source: The folder with ``images`` and ``annotations``.

    Raises:
        FileNotFoundError: If a folder or a list is missing.
    """
    annotations = source / "annotations"
    parts = [source / "images", annotations / "trimaps", *map(annotations.joinpath, LISTS.values())]
    check_there(parts, f"{source} must hold the unpacked images.tar.gz and annotations.tar.gz")
    return [
        Pair(split, source / "images" / f"{name}.jpg", annotations / "trimaps" / f"{name}.png")
        for split, listing in LISTS.items()
        for name, *_ in map(str.split, (annotations / listing).read_text().splitlines())
    ]


def read_trimap(path: Path, pet: int = 1) -> np.ndarray:
    """Read a trimap as a (H, W) uint8 map of background 0, pet and border 255.

    Args:
        path: The trimap.
        pet: Id of the pet.
    """
    ids = read_ids(path, range(1, 4))
    return np.array([VOID, pet, 0, VOID], np.uint8)[ids]  # 1 is pet, 2 background, 3 border


def read_breed(path: Path) -> np.ndarray:
    """Read a trimap as :func:`read_trimap`, with the id of the breed that its name tells.

    Raises:
        UserError: If there is no such breed.
    """
    breed = path.stem.rpartition("_")[0]
    if breed not in BREEDS:
        raise UserError(f"{path}: {breed!r} is none of the 37 breeds")
    return read_trimap(path, BREEDS.index(breed))


@one_line_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Run the converter from the command line."""
    parser = converter_parser(
        __doc__, "the unpacked archives: images/ and annotations/", "data/oxford_pets"
    )
    parser.add_argument("--breeds", action="store_true", help="37 breeds instead of one class")
    args = parser.parse_args(argv)
    kind = (read_breed, "breed_dir") if args.breeds else (read_trimap, "ann_dir")
    write_pairs(find_pairs(args.source), args.out, *kind)
