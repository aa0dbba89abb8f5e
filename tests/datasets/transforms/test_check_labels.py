import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmseg_lipcert.datasets import CheckLabels


def results(labels: np.ndarray, ori_shape: tuple[int, int] | None = None) -> dict:
    return {
        "gt_seg_map": labels,
        "seg_map_path": "some/where/x.png",
        "ori_shape": labels.shape if ori_shape is None else ori_shape,
    }


@given(num_classes=st.integers(1, 255), data=st.data())
def test_classes_and_void_pass_unchanged(num_classes, data):
    values = st.one_of(st.integers(0, num_classes - 1), st.just(255))
    labels = np.array(data.draw(st.lists(values, min_size=6, max_size=6)), np.uint8).reshape(2, 3)
    before = labels.copy()
    out = CheckLabels(num_classes)(results(labels))
    np.testing.assert_array_equal(out["gt_seg_map"], before)


@given(num_classes=st.integers(1, 254), data=st.data())
def test_any_other_id_is_named_with_its_file(num_classes, data):
    stray = data.draw(st.integers(num_classes, 254))
    labels = np.zeros((4, 5), np.uint8)
    labels[data.draw(st.integers(0, 3)), data.draw(st.integers(0, 4))] = stray
    message = rf"some/where/x\.png has ids \[{stray}\], but there are {num_classes} classes"
    with pytest.raises(ValueError, match=message):
        CheckLabels(num_classes)(results(labels))


def test_another_ignore_index():
    labels = np.array([[0, 1, 11]], np.uint8)
    CheckLabels(11, ignore_index=11)(results(labels))
    with pytest.raises(ValueError, match=r"ids \[255\]"):
        CheckLabels(11, ignore_index=11)(results(np.array([[0, 255]], np.uint8)))


def test_color_labels_are_refused():
    with pytest.raises(ValueError, match=r"x\.png has shape \(2, 3, 3\)"):
        CheckLabels(11)(results(np.zeros((2, 3, 3), np.uint8), (2, 3)))


def test_labels_of_another_size_than_the_image_are_refused():
    with pytest.raises(ValueError, match=r"x\.png has shape \(2, 3\).*\(4, 6\)"):
        CheckLabels(11)(results(np.zeros((2, 3), np.uint8), (4, 6)))


@pytest.mark.parametrize("num_classes", [0, -1, 257])
def test_number_of_classes_is_checked(num_classes):
    with pytest.raises(ValueError, match=f"got {num_classes}"):
        CheckLabels(num_classes)
