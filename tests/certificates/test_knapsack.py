import math

import numpy as np
import pytest
import torch

from mmseg_lipcert.certificates import robustness_radius, worst_case


def image(margins):
    """A two-class image whose pixels are correct, with given flip costs."""
    logits = torch.zeros(2, 1, len(margins), dtype=torch.float64)
    logits[0, 0] = torch.tensor(margins, dtype=torch.float64) * math.sqrt(2)
    return logits, torch.zeros(1, len(margins), dtype=torch.long)


def test_the_budget_is_shared_in_squares():
    # Costs 3, 4, 12: two pixels fall at 5, three at 13.
    logits, target = image([12.0, 3.0, 4.0])
    eps = [2.9, 3.0, 4.9, 5.0, 12.9, 13.0]
    found = worst_case(logits, target, "pixel_accuracy", eps, 1.0)
    assert found.tolist() == pytest.approx([1, 2 / 3, 2 / 3, 1 / 3, 1 / 3, 0])


def test_radius_is_where_the_first_pixel_too_many_falls():
    logits, target = image([12.0, 3.0, 4.0])

    def radius(threshold):
        return robustness_radius(logits, target, "pixel_accuracy", threshold, 1.0)

    assert radius(1.0) == pytest.approx(3)
    assert radius(2 / 3 + 1e-9) == pytest.approx(3)
    assert radius(2 / 3) == pytest.approx(5)
    assert radius(1 / 3) == pytest.approx(13)
    assert radius(0.0) == math.inf
    assert radius(1.01) == 0.0


def test_the_lipschitz_bound_divides_the_radius_once():
    logits, target = image([3.0, 4.0])
    assert robustness_radius(logits, target, "stability", 0.5, 4.46) == pytest.approx(5 / 4.46)
    values = worst_case(logits, target, "stability", [4.99 / 4.46, 5.01 / 4.46], 4.46)
    assert values.tolist() == [0.5, 0.0]


def test_only_correct_pixels_can_fall_but_all_can_change():
    logits, target = image([1.0, 2.0, 3.0, 4.0])
    target[0, 0] = 1
    accuracy = worst_case(logits, target, "pixel_accuracy", [0.0, 1.5, 2.5], 1.0)
    assert accuracy.tolist() == [0.75, 0.75, 0.5]
    stability = worst_case(logits, target, "stability", [0.0, 1.5, 2.5], 1.0)
    assert stability.tolist() == [1.0, 0.75, 0.5]


def test_recall_and_specificity_of_a_class():
    # Class 1: true positives with costs 1 and 2, a true negative with cost 3, a false negative.
    logits, target = image([1.0, 2.0, 3.0, 4.0])
    logits[:, 0, :2] = logits[:, 0, :2].flip(0)
    target[0] = torch.tensor([1, 1, 0, 1])
    recall = worst_case(logits, target, "recall", [0, 1, 2.3], 1.0, class_index=1)
    assert recall.tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    specificity = worst_case(logits, target, "specificity", [0, 2.9, 3], 1.0, class_index=1)
    assert specificity.tolist() == [1, 1, 0]
    assert worst_case(logits, target, "recall", 1, 1.0, class_index=0).item() == 1


def test_millions_of_small_costs_are_summed_exactly():
    size = 2_000_000
    logits, target = image(np.full(size, 1e-3))
    # In float32 the running sum of squares stops growing long before this.
    eps = 1e-3 * math.sqrt(1_500_000)
    fallen = (1 - worst_case(logits, target, "pixel_accuracy", eps, 1.0).item()) * size
    assert fallen == pytest.approx(1_500_000, abs=2)


def test_entering_a_class_costs_the_distance_to_its_whole_cone():
    # Raising the third logit to 2/3 and lowering both others to it costs sqrt(2/3); half the gap
    # to the largest logit, sqrt(1/2), would only pass one of them.
    logits, target = torch.tensor([[[1.0]], [[1.0]], [[0.0]]]), torch.tensor([[0]])
    cost = math.sqrt(2 / 3)
    for metric, left in (("specificity", 0.0), ("iou", 0.0)):
        eps = [cost * (1 - 1e-9), cost]
        before, after = worst_case(logits, target, metric, eps, 1.0, class_index=2).tolist()
        assert math.isnan(before) if metric == "iou" else before == 1
        assert after == left
    radius = robustness_radius(logits, target, "specificity", 0.5, 1.0, class_index=2)
    assert radius == pytest.approx(cost)
