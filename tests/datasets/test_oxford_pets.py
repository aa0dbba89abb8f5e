from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_lipcert.cli.dataset_converters import oxford_pets
from mmseg_lipcert.datasets import OxfordPetBreedsDataset, OxfordPetsDataset
from mmseg_lipcert.utils.user_error import UserError

BASE = Path(__file__).parents[2] / "configs" / "_base_" / "datasets"
LISTS = {
    "trainval.txt": ["Abyssinian_100 1 1 1", "american_bulldog_10 2 2 1"],
    "test.txt": ["yorkshire_terrier_9 37 2 25"],
}
PARTS = {"train": ["Abyssinian_100", "american_bulldog_10"], "test": ["yorkshire_terrier_9"]}


@pytest.fixture
def archives(tmp_path) -> Path:
    """Both archives, unpacked: three listed images, one that is not, and files of a Macintosh."""
    root = tmp_path / "oxford-iiit-pet"
    trimaps = root / "annotations" / "trimaps"
    for folder in (root / "images", trimaps):
        folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number, name in enumerate(("Abyssinian_34", *sum(PARTS.values(), []))):
        size = (20 + number, 30)
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        cv2.imwrite(str(root / "images" / f"{name}.jpg"), pixels)
        cv2.imwrite(str(trimaps / f"{name}.png"), rng.integers(1, 4, size, dtype=np.uint8))
        (trimaps / f"._{name}.png").write_bytes(b"\0\5\26\7")
    (root / "images" / "Abyssinian_100.mat").write_bytes(b"")
    for name, lines in LISTS.items():
        (root / "annotations" / name).write_text("".join(f"{line}\n" for line in lines))
    return root


@pytest.fixture
def convert(archives, tmp_path):
    def run(*options):
        oxford_pets.main.__wrapped__([str(archives), "--out", str(tmp_path / "pets"), *options])
        return tmp_path / "pets"

    return run


def trimap(archives, name):
    return cv2.imread(str(archives / "annotations" / "trimaps" / f"{name}.png"), -1)


@pytest.mark.parametrize(
    ("options", "folder", "pets"),
    [([], "ann_dir", (1, 1, 1)), (["--breeds"], "breed_dir", (1, 2, 37))],
)
def test_trimaps_become_labels_in_the_published_split(convert, archives, options, folder, pets):
    out = convert(*options)
    ids = iter(pets)
    for split, names in PARTS.items():
        assert [path.stem for path in sorted((out / "img_dir" / split).iterdir())] == names
        for name in names:
            copied = (out / "img_dir" / split / f"{name}.jpg").read_bytes()
            assert copied == (archives / "images" / f"{name}.jpg").read_bytes()
            before = trimap(archives, name)
            labels = cv2.imread(str(out / folder / split / f"{name}.png"), -1)
            assert labels.dtype == np.uint8
            np.testing.assert_array_equal(labels, np.array([0, next(ids), 0, 255])[before])


def test_breeds_leave_the_other_labels_alone(convert):
    before = {path: path.read_bytes() for path in convert().rglob("*.*")}
    after = {path: path.read_bytes() for path in convert("--breeds").rglob("*.*")}
    assert len(before) == 6 and len(after) == 9 and before.items() <= after.items()


def test_a_gif_file_called_jpg_becomes_one_that_every_opencv_reads(convert, archives):
    pixels = np.random.default_rng(1).integers(0, 256, (21, 30), dtype=np.uint8)
    Image.fromarray(pixels).save(archives / "images" / "Abyssinian_100.jpg", format="GIF")
    content = (convert() / "img_dir" / "train" / "Abyssinian_100.jpg").read_bytes()
    assert content.startswith(b"\x89PNG")
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded, pixels[..., None].repeat(3, 2))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("oxford_pets", OxfordPetsDataset), ("oxford_pet_breeds", OxfordPetBreedsDataset)],
)
def test_the_dataset_reads_what_the_converter_wrote(convert, monkeypatch, mmseg_scope, name, kind):
    convert()
    monkeypatch.setenv("PETS_ROOT", str(convert("--breeds")))
    config = Config.fromfile(BASE / f"{name}.py")
    for split, count in (("train", 2), ("val", 1), ("test", 1)):
        dataset = DATASETS.build(config[f"{split}_dataloader"].dataset)
        assert type(dataset) is kind and len(dataset) == count
        item = dataset[0]
    assert item["inputs"].shape == (3, 23, 30)  # the original size
    last = config.num_classes - 1
    assert item["data_samples"].gt_sem_seg.data.unique().tolist() == [0, last, 255]
    assert len(dataset.metainfo["classes"]) == last + 1
    steps = config.train_dataloader.dataset.pipeline
    assert [step.get("direction") for step in steps if step.type == "RandomFlip"] == [None]


def test_there_are_37_breeds_of_different_colors():
    classes, palette = (OxfordPetBreedsDataset.METAINFO[key] for key in ("classes", "palette"))
    assert classes[0] == "background" and list(classes[1:]) == sorted(classes[1:], key=str.lower)
    assert len(classes) == len(palette) == len({tuple(color) for color in palette}) == 38


@pytest.mark.parametrize("part", ["images", "annotations/trimaps", "annotations/test.txt"])
def test_a_missing_part_is_named(convert, archives, tmp_path, part):
    (archives / part).rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=rf"^no \S*/{part}: .* unpacked images\.tar\.gz"):
        convert()
    assert not (tmp_path / "pets").exists()


def test_what_is_wrong_is_named(convert, archives):
    labels = archives / "annotations" / "trimaps" / "Abyssinian_100.png"
    expected = r"expected one channel with ids 1\.\.3, got"
    for pixels, message in (
        (np.zeros((21, 30), np.uint8), rf"{expected} .* values 0\.\.0"),
        (np.ones((21, 30, 3), np.uint8), rf"{expected} shape \(21, 30, 3\)"),
        (np.ones((5, 5), np.uint8), r"labels of \(5, 5\) for an image of \(21, 30\)"),
    ):
        cv2.imwrite(str(labels), pixels)
        with pytest.raises(UserError, match=rf"Abyssinian_100\.png: {message}"):
            convert()
    labels.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"cannot read image \S*Abyssinian_100\.png"):
        convert()
    labels.unlink()
    with pytest.raises(FileNotFoundError, match=r"no \S*trimaps/Abyssinian_100\.png$"):
        convert()


def test_an_unknown_breed_is_named(tmp_path):
    with pytest.raises(UserError, match="'wolf' is none of the 37 breeds"):
        oxford_pets.read_breed(tmp_path / "wolf_1.png")
