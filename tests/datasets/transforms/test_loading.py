from pathlib import Path

import cv2
import numpy as np
import pytest

from mmseg_lipcert.datasets import LoadCheckedAnnotations, LoadCheckedImage


def load_image(path: Path) -> dict:
    return LoadCheckedImage()({"img_path": str(path)})


def load_labels(path: Path) -> dict:
    return LoadCheckedAnnotations()(
        {
            "seg_map_path": str(path),
            "reduce_zero_label": False,
            "label_map": None,
            "seg_fields": [],
        }
    )


@pytest.fixture
def picture(tmp_path) -> tuple[Path, np.ndarray]:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), pixels)
    return path, pixels


def test_image_is_loaded_as_by_the_stock_transform(picture):
    path, pixels = picture
    out = load_image(path)
    np.testing.assert_array_equal(out["img"], pixels)
    assert out["ori_shape"] == (12, 16)


def test_labels_are_loaded_as_by_the_stock_transform(tmp_path):
    labels = np.array([[0, 1, 255], [10, 2, 3]], np.uint8)
    path = tmp_path / "labels.png"
    cv2.imwrite(str(path), labels)
    np.testing.assert_array_equal(load_labels(path)["gt_seg_map"], labels)


@pytest.mark.parametrize("load", [load_image, load_labels])
@pytest.mark.parametrize("content", ["empty", "text", "cut"])
def test_unreadable_files_are_named(picture, tmp_path, load, content):
    whole = picture[0].read_bytes()
    path = tmp_path / "bad.png"
    path.write_bytes({"empty": b"", "text": b"no image", "cut": whole[: len(whole) // 2]}[content])
    with pytest.raises(ValueError, match=r"cannot read .*bad\.png: not an image or damaged"):
        load(path)


@pytest.mark.parametrize("load", [load_image, load_labels])
def test_missing_files_are_named(tmp_path, load):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        load(tmp_path / "nowhere.png")
