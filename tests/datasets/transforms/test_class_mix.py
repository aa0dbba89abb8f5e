import numpy as np
import pytest

from mmseg_lipcert.datasets.transforms import ClassMix


def image(value, labels):
    labels = np.array(labels, dtype=np.uint8)
    return dict(img=np.full((*labels.shape, 3), value, dtype=np.float32), gt_seg_map=labels)


def test_half_of_the_classes_are_pasted_with_their_labels():
    seen = set()
    for seed in range(40):
        np.random.seed(seed)
        results = image(1, [[5, 5, 5, 5]])
        results["mix_results"] = [image(2, [[0, 1, 2, 255]])]
        mixed = ClassMix(prob=1).transform(results)
        pasted = mixed["gt_seg_map"] != 5
        np.testing.assert_array_equal(mixed["img"], np.where(pasted, 2, 1)[..., None].repeat(3, 2))
        seen.add(tuple(mixed["gt_seg_map"][pasted]))
    assert seen == {(0, 1), (0, 2), (1, 2)}, "two of three, and never what is ignored"


def test_an_image_without_labels_is_pasted_nowhere():
    results = image(1, [[5, 5]])
    results["mix_results"] = [image(2, [[255, 255]])]
    assert (ClassMix().transform(results)["gt_seg_map"] == 5).all()


@pytest.mark.parametrize("prob", [0.0, 0.3, 1.0])
def test_another_image_comes_as_often_as_asked(prob):
    np.random.seed(0)
    indices = [ClassMix(prob).get_indices(range(7)) for _ in range(400)]
    assert abs(np.mean([len(found) for found in indices]) - prob) <= 0.08
    assert {i for found in indices for i in found} == (set(range(7)) if prob else set())


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"prob must be in \[0, 1\], got 2"):
        ClassMix(prob=2)
    results = image(1, [[5, 5]])
    results["mix_results"] = [image(2, [[0]])]
    with pytest.raises(ValueError, match=r"one size, got \(1, 2\) and \(1, 1\)"):
        ClassMix().transform(results)
