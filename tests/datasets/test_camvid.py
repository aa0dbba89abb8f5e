from pathlib import Path

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS

from mmseg_lipcert.datasets import CamVidDataset


@pytest.fixture
def root(tmp_path) -> Path:
    for folder in ("img_dir/val", "ann_dir/val"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def add(root: Path, name: str, suffix: str) -> None:
    cv2.imwrite(str(root / "img_dir/val" / (name + suffix)), np.zeros((4, 6, 3), np.uint8))
    cv2.imwrite(str(root / "ann_dir/val" / f"{name}.png"), np.zeros((4, 6), np.uint8))


def build(root: Path, **kwargs) -> CamVidDataset:
    prefix = {"img_path": "img_dir/val", "seg_map_path": "ann_dir/val"}
    return CamVidDataset(data_root=str(root), data_prefix=prefix, **kwargs)


def test_classes_and_palette():
    classes, palette = CamVidDataset.METAINFO["classes"], CamVidDataset.METAINFO["palette"]
    assert classes[0] == "Sky" and classes[3] == "Road" and classes[10] == "Bicyclist"
    assert len(classes) == len(palette) == len({tuple(color) for color in palette}) == 11
    assert DATASETS.get("CamVidDataset") is CamVidDataset


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_suffix_is_found(root, suffix):
    for name in ("b", "a"):
        add(root, name, suffix)
    dataset = build(root)
    assert [Path(item["img_path"]).name for item in dataset] == [f"a{suffix}", f"b{suffix}"]
    assert [Path(item["seg_map_path"]).name for item in dataset] == ["a.png", "b.png"]
    assert dataset[0]["reduce_zero_label"] is False
    assert dataset.ignore_index == 255


def test_suffix_is_taken_as_given(root):
    add(root, "a", ".png")
    add(root, "b", ".jpg")
    assert [Path(item["img_path"]).name for item in build(root, img_suffix=".jpg")] == ["b.jpg"]


def test_both_suffixes_are_ambiguous(root):
    add(root, "a", ".png")
    add(root, "b", ".jpg")
    with pytest.raises(ValueError, match=r"img_dir/val holds both \.png and \.jpg"):
        build(root)


def test_empty_folder_is_named(root):
    with pytest.raises(ValueError, match=r"img_dir/val holds no \.png or \.jpg"):
        build(root)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="img_dir/val"):
        build(tmp_path)
