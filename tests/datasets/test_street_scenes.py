import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_lipcert.datasets import generate_street_scene, write_street_scenes
from mmseg_lipcert.datasets.scenes import TrainId

SMALL = (64, 128)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32),
    index=st.integers(0, 10**6),
    size=st.tuples(st.integers(32, 90), st.integers(32, 160)),
)
def test_any_scene_is_a_labelled_image(seed, index, size):
    image, labels = generate_street_scene(seed, index, size)
    assert image.shape == (*size, 3) and image.dtype == np.uint8
    assert labels.shape == size and labels.dtype == np.uint8
    assert set(np.unique(labels)) <= set(TrainId)
    assert image.std() > 5


def test_default_size():
    image, labels = generate_street_scene(0, 0)
    assert image.shape == (256, 512, 3) and labels.shape == (256, 512)


def test_same_arguments_same_scene_whatever_came_before():
    first = generate_street_scene(3, 7, SMALL)
    generate_street_scene(3, 8, SMALL)
    second = generate_street_scene(3, 7, SMALL)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize("other", [(4, 7, "train"), (3, 8, "train"), (3, 7, "val")])
def test_seed_index_and_split_each_change_the_scene(other):
    seed, index, split = other
    reference = generate_street_scene(3, 7, SMALL, "train")[0].astype(int)
    image = generate_street_scene(seed, index, SMALL, split)[0]
    assert np.abs(image - reference).mean() > 5


@pytest.fixture(scope="module")
def fifty() -> list[tuple[np.ndarray, np.ndarray]]:
    return [generate_street_scene(0, i, (128, 256)) for i in range(50)]


def test_statistics_of_classes(fifty):
    counts = sum(np.bincount(labels.ravel(), minlength=256) for _, labels in fifty)
    share = counts / counts.sum()
    assert np.all(counts[:19] > 0)
    assert 0.3 < share[TrainId.ROAD] < 0.45
    assert 0.1 < share[TrainId.BUILDING] < 0.35
    assert 0.05 < share[TrainId.SKY] < 0.25
    assert 0.03 < share[TrainId.VEGETATION] < 0.25
    assert 0.02 < share[TrainId.CAR] < 0.15
    assert 0.005 < share[TrainId.VOID] < 0.08


def test_color_alone_does_not_tell_the_classes(fifty):
    # Best classifier of a pixel by its color in 16^3 bins, fitted to the very scenes it is
    # scored on: an upper bound for any classifier by color.
    votes = np.zeros((16**3, 19))
    for image, labels in fifty:
        valid = labels < 19
        bins = (image[valid].astype(int) // 16) @ [256, 16, 1]
        np.add.at(votes, (bins, labels[valid]), 1)
    accuracy = votes.max(axis=1).sum() / votes.sum()
    assert accuracy < 0.75


def test_brightness_varies_between_scenes(fifty):
    brightness = [image.mean() for image, _ in fifty]
    assert max(brightness) > 2 * min(brightness)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0), "seed must be from 0 .* got -1"),
        ((2**64, 0), "got 18446744073709551616"),
        ((0, -1), "index must be >= 0, got -1"),
        ((0, 0, (16, 512)), r"got \(16, 512\)"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        generate_street_scene(*arguments)


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_layout_of_cityscapes(tmp_path):
    assert write_street_scenes(tmp_path, {"train": 2, "val": 1}, seed=1, size=SMALL) == 3
    assert set(files(tmp_path)) == {
        "scenes.json",
        "leftImg8bit/train/lipcert/lipcert_000000_000000_leftImg8bit.png",
        "leftImg8bit/train/lipcert/lipcert_000000_000001_leftImg8bit.png",
        "leftImg8bit/val/lipcert/lipcert_000000_000000_leftImg8bit.png",
        "gtFine/train/lipcert/lipcert_000000_000000_gtFine_labelTrainIds.png",
        "gtFine/train/lipcert/lipcert_000000_000001_gtFine_labelTrainIds.png",
        "gtFine/val/lipcert/lipcert_000000_000000_gtFine_labelTrainIds.png",
    }


def test_files_hold_the_scene(tmp_path):
    write_street_scenes(tmp_path, {"val": 1}, seed=5, size=SMALL)
    image, labels = generate_street_scene(5, 0, SMALL, "val")
    stem = "val/lipcert/lipcert_000000_000000"
    read = cv2.imread(str(tmp_path / f"leftImg8bit/{stem}_leftImg8bit.png"))
    np.testing.assert_array_equal(read[..., ::-1], image)
    name = f"gtFine/{stem}_gtFine_labelTrainIds.png"
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED), labels)


def test_writing_again_changes_nothing_and_fills_gaps(tmp_path):
    write_street_scenes(tmp_path, {"train": 2}, size=SMALL)
    before = files(tmp_path)
    assert write_street_scenes(tmp_path, {"train": 2}, size=SMALL) == 0
    lost = "gtFine/train/lipcert/lipcert_000000_000001_gtFine_labelTrainIds.png"
    (tmp_path / lost).unlink()
    assert write_street_scenes(tmp_path, {"train": 2}, size=SMALL) == 1
    assert files(tmp_path) == before


def test_images_do_not_depend_on_their_number(tmp_path):
    write_street_scenes(tmp_path / "one", {"train": 1}, size=SMALL)
    write_street_scenes(tmp_path / "two", {"train": 2, "val": 1}, size=SMALL)
    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    assert all(two[name] == content for name, content in one.items())


@pytest.mark.parametrize("change", [{"seed": 1}, {"size": (64, 64)}])
def test_folders_are_not_mixed(tmp_path, change):
    write_street_scenes(tmp_path, {"train": 1}, seed=0, size=SMALL)
    with pytest.raises(ValueError, match="holds scenes made with"):
        write_street_scenes(tmp_path, {"train": 2}, **({"seed": 0, "size": SMALL} | change))
    assert json.loads((tmp_path / "scenes.json").read_text())["seed"] == 0


def test_negative_counts_are_refused(tmp_path):
    with pytest.raises(ValueError, match="number of val scenes must be >= 0, got -2"):
        write_street_scenes(tmp_path, {"val": -2})
