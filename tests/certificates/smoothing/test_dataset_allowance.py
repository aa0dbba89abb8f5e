import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_lipcert.certificates.smoothing import maps
from mmseg_lipcert.certificates.smoothing.binomial import p_value_table
from mmseg_lipcert.certificates.smoothing.dataset_allowance import DatasetAllowance
from mmseg_lipcert.certificates.smoothing.dataset_summary import smoothing_summary
from mmseg_lipcert.certificates.smoothing.image_entry import smoothing_entry

from .cases import NUM_CLASSES, images, settings_of

PIXELS = 6
ALL_MAPS = np.array(list(itertools.product(range(NUM_CLASSES), repeat=PIXELS)))


def test_limits_of_three_events():
    settings = settings_of("metric", n=60, taus=(0.75,))
    threshold = 55
    share = 3 * p_value_table(60, 0.75)[threshold] / 0.1
    valid, tested = np.array([1000.0, 0.0, 2000.0]), np.array([1000.0, 0.0, 1500.0])
    allowance = DatasetAllowance.of_metrics(
        settings, 0.75, threshold, valid, tested, np.array([2400.0, 600.0, 0.0])
    )
    assert 0 < share < 0.1
    assert allowance.pixels == math.ceil(2500 * share) - 1
    assert allowance.per_class.tolist() == [
        math.ceil(2 * 2400 * share) - 1,
        math.ceil(2 * 600 * share) - 1,
        0,
    ]
    assert allowance.image_share == pytest.approx((1 + 0.75) / 2 * share)
    assert allowance.class_share == pytest.approx(share)
    assert allowance.per_image.tolist() == [0, 0, 0]


def test_no_hits_suffice_without_certificates():
    settings = settings_of("metric", n=60, taus=(0.75,))
    allowance = DatasetAllowance.of_metrics(
        settings, 0.75, 61, np.array([9.0]), np.array([9.0]), np.array([9.0])
    )
    assert (allowance.pixels, allowance.image_share, allowance.class_share) == (0, 0.0, 0.0)


def true_values(maps: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of label maps without ignored pixels, maps x classes; NaN where undefined."""
    values = {"recall": [], "iou": [], "dice": []}
    with np.errstate(invalid="ignore"):
        for c in range(NUM_CLASSES):
            truth, found = target == c, maps == c
            hit = np.float64((found & truth).sum(1))
            values["recall"].append(hit / truth.sum())
            values["iou"].append(hit / (found | truth).sum(1))
            values["dice"].append(2 * hit / (found.sum(1) + truth.sum()))
    return {name: np.stack(value, axis=1) for name, value in values.items()}


@pytest.mark.parametrize("threshold", [24, 25, 26])
@given(image=images(pixels=PIXELS), data=st.data())
def test_no_map_within_the_limits_is_below_a_figure(threshold, image, data):
    """All maps, and all sets of wrong certificates that the three events allow."""
    selected, hits, _, clean = image
    target = torch.tensor([data.draw(st.lists(st.integers(0, 2), min_size=6, max_size=6))])
    settings = settings_of("metric", taus=(0.5,), alpha=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "metric_level_k", lambda n, tau, alpha: threshold)
        entry = smoothing_entry(selected, hits, target, clean, settings, NUM_CLASSES)
    row = smoothing_summary([entry])["certified"][0]
    share = p_value_table(30, 0.5)[threshold] * 3 / 0.5
    assert share < 1

    labels, truth = selected.numpy()[0], target.numpy()[0]
    certified = hits.numpy()[0] >= threshold
    wrong = (ALL_MAPS != labels) & certified
    classes = np.unique(truth)
    shares = np.stack([wrong[:, truth == c].mean(1) for c in classes], axis=1)
    allowed = (wrong.mean(1) < share) & (shares.mean(1) < share)
    values = true_values(ALL_MAPS[allowed], truth)
    for name, mean in (("recall", "mAcc"), ("iou", "mIoU"), ("dice", "mDice")):
        per_class = np.array([v[name] for v in row["per_class"]])
        for c in range(NUM_CLASSES):
            reached = values[name][:, c]
            assert not (reached < per_class[c] - 1e-12).any()
            assert np.isnan(per_class[c]) == np.isnan(reached).all()
        assert row[mean] <= np.nanmean(values[name], axis=1).min() + 1e-12
    right = (ALL_MAPS[allowed] == truth).mean(1)
    assert row["pixel_accuracy"] <= right.min() + 1e-12
    assert row["pixel_accuracy_dataset"] == pytest.approx(right.min())


def test_rare_class_keeps_its_recall():
    """Wrong certificates outnumber the pixels of a class, and yet cannot take them all."""
    settings = settings_of("metric", n=100, taus=(0.75,), alpha=0.001)
    label = torch.zeros(1000, 1000, dtype=torch.int64)
    label[0] = 1
    hits = torch.full_like(label, 100)
    row = smoothing_summary([smoothing_entry(label, hits, label, label, settings, NUM_CLASSES)])[
        "certified"
    ][0]
    assert row["allowance"] > 1000
    assert row["per_class"][1]["recall"] > 0.99
    assert row["mAcc"] > 0.997


def test_small_classes_lose_true_positives_together():
    """With many of them, the mean over classes is above the mean of the classes' minima."""
    settings = settings_of("metric", n=100, taus=(0.75,), alpha=0.001)
    label = torch.zeros(1000, 1000, dtype=torch.int64)
    label[:38] = 1 + torch.arange(38)[:, None] // 2
    hits = torch.full_like(label, 100)
    entry = smoothing_entry(label, hits, label, label, settings, 20)
    row = smoothing_summary([entry])["certified"][0]
    threshold = entry["certified"][0]["threshold"]
    share = 3 * p_value_table(100, 0.75)[threshold] / 0.001
    area = np.array([962_000.0] + [2000.0] * 19)
    union = area + np.minimum(row["allowance"], 1e6 - area)
    assert row["mAcc"] == pytest.approx(1 - share)
    assert row["mIoU"] == pytest.approx((area / union).mean() - share)
    assert row["mDice"] == pytest.approx((2 * area / (union + area)).mean() - 2 * share)
    assert row["mIoU"] > np.mean([v["iou"] for v in row["per_class"]])
    assert row["mDice"] > np.mean([v["dice"] for v in row["per_class"]])
