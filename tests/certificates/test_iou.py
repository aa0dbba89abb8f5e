import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_lipcert.certificates import (
    dataset_worst_case_iou,
    image_entry,
    robustness_radius,
)

from .cases import datasets
from .reference import same, worst_dataset_ratio


@given(datasets(), st.data(), st.sampled_from([0.0, 0.3, 0.7, 1.0, 1.5, 5.0]))
def test_dataset_iou_is_the_minimum_over_all_combinations(dataset, data, eps):
    c = data.draw(st.integers(0, dataset[0].num_classes - 1))
    images = [(case.logits, case.target) for case in dataset]
    found = dataset_worst_case_iou(images, c, eps, 1.0)
    assert same(found, worst_dataset_ratio([case.maps for case in dataset], c, eps, "iou"))


def test_sum_of_worst_pairs_is_no_bound_where_the_class_is_absent():
    # Image 1: one pixel of class 1 that eps cannot break. Image 2: no class 1, two pixels of it
    # can be made. Taking each image's own worst pair (NaN there) reports 1; the truth is 1/3.
    first = torch.tensor([[[0.0]], [[9.0]]]), torch.tensor([[1]])
    second = torch.tensor([[[0.1, 0.1]], [[0.0, 0.0]]]), torch.tensor([[0, 0]])
    assert dataset_worst_case_iou([first, second], 1, 0.5, 1.0) == pytest.approx(1 / 3)


def test_sum_of_worst_pairs_is_no_bound_where_the_class_is_present():
    # What is worst for the dataset is rarely worst for each image: an image's best trade between
    # lost and made pixels depends on the dataset's ratio, not on its own.
    generator = torch.Generator().manual_seed(3)
    worse = 0
    for _ in range(200):
        images = []
        for _ in range(2):
            logits = torch.randn(2, 1, 12, generator=generator)
            target = torch.randint(0, 2, (1, 12), generator=generator)
            images.append((logits, target))
        certified = dataset_worst_case_iou(images, 1, 0.8, 1.0)
        entries = [image_entry(*image, 0.8, 1.0, max_vertices=100) for image in images]
        good = area = 0
        for entry in entries:
            hit = entry["intersection"][1]
            union = entry["gt_area"][1] + entry["pred_area"][1] - hit
            a, b = min(entry["frontier"][0][1], key=lambda v: (hit - v[0]) / (union + v[1]))
            good, area = good + hit - a, area + union + b
        assert certified <= good / area + 1e-12
        worse += certified < good / area - 1e-12
    assert worse > 0


def test_bad_input_is_named():
    logits, target = torch.randn(3, 2, 2), torch.zeros(2, 2, dtype=torch.long)
    with pytest.raises(ValueError, match="images is empty"):
        dataset_worst_case_iou([], 0, 0.1, 1.0)
    with pytest.raises(ValueError, match="class_index must be in .0, 3., got 5"):
        dataset_worst_case_iou([(logits, target)], 5, 0.1, 1.0)
    with pytest.raises(ValueError, match="one eps"):
        dataset_worst_case_iou([(logits, target)], 0, [0.1, 0.2], 1.0)


@pytest.mark.parametrize(
    ("metric", "threshold", "made"),
    [
        ("iou", 1.0, 1),
        ("iou", 0.5, 2),
        ("iou", 1 / 3, 3),
        ("dice", 1.0, 1),
        ("dice", 2 / 3, 2),
        ("dice", 0.5, 3),
    ],
)
def test_radius_counts_the_false_positives_that_are_needed(metric, threshold, made):
    # One true positive out of reach, and true negatives that cost 1, 2, 3 to enter.
    margins = torch.tensor([100.0, -1.0, -2.0, -3.0], dtype=torch.float64) * math.sqrt(2)
    logits = torch.stack([torch.zeros(4, dtype=torch.float64), margins])[:, None]
    target = torch.tensor([[1, 0, 0, 0]])
    radius = robustness_radius(logits, target, metric, threshold, 1.0, class_index=1)
    assert radius == pytest.approx(math.sqrt(sum(k * k for k in range(1, made + 1))))
