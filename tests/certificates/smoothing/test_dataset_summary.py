import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_lipcert.certificates.smoothing import ClassHierarchy
from mmseg_lipcert.certificates.smoothing.binomial import p_value_table
from mmseg_lipcert.certificates.smoothing.dataset_summary import smoothing_summary
from mmseg_lipcert.certificates.smoothing.image_entry import smoothing_entry
from mmseg_lipcert.certificates.smoothing.maps import certified_labels

from .cases import NUM_CLASSES, images, settings_of

PIXELS = 7
#: Every map of that many pixels.
ALL_MAPS = np.array(list(itertools.product(range(NUM_CLASSES), repeat=PIXELS)))


def figures(maps: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of many label maps, maps x classes; NaN where undefined."""
    valid = target != 255
    values = {name: [] for name in ("iou", "dice", "recall", "specificity")}
    with np.errstate(invalid="ignore"):
        for c in range(NUM_CLASSES):
            truth, found = target == c, (maps == c) & valid
            hit = (found & truth).sum(1)
            area, others = truth.sum(), (valid & ~truth).sum()
            values["iou"].append(hit / np.float64((found | truth).sum(1)))
            values["dice"].append(2 * hit / np.float64(found.sum(1) + area))
            values["recall"].append(hit / np.float64(area))
            values["specificity"].append((valid & ~truth & ~found).sum(1) / np.float64(others))
    return {name: np.stack(value, axis=1) for name, value in values.items()}


def lowest(values: np.ndarray) -> list[float]:
    """Smallest defined value per class."""
    return [np.nan if np.isnan(v).all() else np.nanmin(v) for v in values.T]


@pytest.mark.parametrize("correction, k", [("holm", 1), ("k-fwer", 2), ("k-fwer", 4)])
@given(image=images(pixels=PIXELS))
def test_figures_are_the_worst_over_all_maps_that_the_certificate_allows(correction, k, image):
    """Every split of the wrong certificates among classes and pixels is tried."""
    selected, hits, target, clean = image
    settings = settings_of(correction, k, taus=(0.75,))
    row = smoothing_summary([smoothing_entry(*image, settings, NUM_CLASSES)])["certified"][0]
    labels = certified_labels(selected, hits, settings).numpy()[0]
    target = target.numpy()[0]
    valid = target != 255
    wrong = (ALL_MAPS != labels)[:, (labels != 255) & valid].sum(1)
    allowed = ALL_MAPS[wrong <= k - 1]
    for name, values in figures(allowed, target).items():
        assert [v[name] for v in row["per_class"]] == pytest.approx(lowest(values), nan_ok=True)
    if valid.any():
        worst = (allowed == target)[:, valid].mean(1).min()
        assert row["pixel_accuracy"] == pytest.approx(worst)
        assert row["pixel_accuracy_dataset"] == pytest.approx(worst)
        stable = ((labels != 255) & valid).sum()
        assert row["stability"] == pytest.approx(max(0, stable - k + 1) / valid.sum())
        assert row["abstain"] == pytest.approx(1 - stable / valid.sum())
    else:
        assert math.isnan(row["pixel_accuracy"]) and math.isnan(row["stability"])


@pytest.mark.parametrize("name", ["clean", "smoothed"])
@given(image=images(pixels=PIXELS))
def test_predictions_without_attack(name, image):
    selected, _, target, clean = image
    summary = smoothing_summary([smoothing_entry(*image, settings_of(), NUM_CLASSES)])
    maps = (clean if name == "clean" else selected).numpy()
    for metric, values in figures(maps, target.numpy()[0]).items():
        got = [v[metric] for v in summary[name]["per_class"]]
        assert got == pytest.approx(list(values[0]), nan_ok=True)


@given(image=images(pixels=PIXELS))
def test_published_iou_lets_abstaining_pixels_become_nothing(image):
    selected, hits, target, _ = image
    settings = settings_of(taus=(0.75,))
    row = smoothing_summary([smoothing_entry(*image, settings, NUM_CLASSES)])["certified"][0]
    labels = certified_labels(selected, hits, settings).numpy()
    values = figures(labels, target.numpy()[0])["iou"][0]
    expected = np.nan if np.isnan(values).all() else np.nanmean(values)
    assert row["mIoU_published"] == pytest.approx(expected, nan_ok=True)
    assert not row["mIoU"] > row["mIoU_published"]


def metric_entries(count: int, settings) -> list[dict]:
    """Images of 400 pixels, all right, with all hits but 40 of them."""
    hits = torch.full((20, 20), settings.n)
    hits[:2] = settings.n // 2
    label = torch.zeros(20, 20, dtype=torch.int64)
    label[:, 10:] = 1
    return [smoothing_entry(label, hits, label, label, settings, NUM_CLASSES)] * count


def test_one_allowance_for_the_dataset_beats_one_per_image():
    settings = settings_of("metric", n=60, taus=(0.75,))
    entries = metric_entries(5, settings)
    (row,) = smoothing_summary(entries)["certified"]
    hits = entries[0]["certified"][0]["threshold"]
    share = 3 * p_value_table(60, 0.75)[hits] / 0.1
    assert row["allowance"] == math.ceil(2000 * share) - 1
    assert row["pixel_accuracy_dataset"] == pytest.approx((1800 - row["allowance"]) / 2000)
    assert row["pixel_accuracy"] == pytest.approx(0.9 - share)
    assert row["stability"] == pytest.approx(0.9 - share)
    assert row["mAcc"] == pytest.approx(0.9 - share)
    first, second, third = row["per_class"]
    assert first["iou"] == pytest.approx((900 - row["allowance"]) / 1100)
    assert first["recall"] == second["recall"] == pytest.approx((900 - row["allowance"]) / 1000)
    assert third["iou"] == 0 and math.isnan(third["recall"])
    assert third["specificity"] == pytest.approx((1800 - row["allowance"]) / 2000)


def test_means_over_images_weigh_images_and_pooled_figures_pixels():
    settings = settings_of(taus=(0.75,))
    small, large = torch.zeros(1, 10, dtype=torch.int64), torch.zeros(1, 30, dtype=torch.int64)
    entries = [
        smoothing_entry(m, torch.full_like(m, h), m, m, settings, NUM_CLASSES)
        for m, h in ((small, 30), (large, 0))
    ]
    row = smoothing_summary(entries)["certified"][0]
    assert row["pixel_accuracy"] == 0.5
    assert row["pixel_accuracy_dataset"] == 0.25
    curve = smoothing_summary(entries)["curve"]
    assert curve[0] == {"radius": 0.0, "pixel_accuracy": 0.5}


def test_information_gain_credits_groups():
    hierarchy = ClassHierarchy(4, [{"ab": [0, 1], "cd": [2, 3]}])
    settings = settings_of(taus=(0.75,))
    selected = torch.tensor([[4, 4, 0, 6, 2]])
    target = torch.tensor([[1, 2, 0, 0, 3]])
    clean = torch.zeros_like(target)
    hits = torch.full_like(target, 30)
    entry = smoothing_entry(selected, hits, target, clean, settings, 4, 255, hierarchy)
    row = smoothing_summary([entry])["certified"][0]
    assert row["information_gain"] == pytest.approx((0.5 + 1) / 5)
    assert row["abstain"] == pytest.approx(1 / 5)
    assert row["pixel_accuracy"] == pytest.approx(1 / 5)


@pytest.mark.parametrize("correction", ["holm", "metric"])
@given(image=images())
def test_one_level_is_plain_certification(correction, image):
    settings = settings_of(correction, n=60)
    flat = ClassHierarchy(NUM_CLASSES, [], share=0)
    plain = smoothing_summary([smoothing_entry(*image, settings, NUM_CLASSES)])
    summary = smoothing_summary([smoothing_entry(*image, settings, NUM_CLASSES, 255, flat)])
    for row in summary["certified"]:
        gain = row.pop("information_gain")
        assert gain == pytest.approx(row["pixel_accuracy"], nan_ok=True)
    assert repr(summary) == repr(plain)


@given(st.permutations(range(3)))
def test_order_of_images_does_not_matter(order):
    settings = settings_of("metric", n=60, taus=(0.75,))
    label = torch.arange(30).reshape(3, 10) % 3
    entries = [
        smoothing_entry(
            label, torch.full_like(label, 60 - 9 * i), label, label, settings, NUM_CLASSES
        )
        for i in range(3)
    ]
    shuffled = smoothing_summary([entries[i] for i in order])
    assert repr(shuffled) == repr(smoothing_summary(entries))


def test_entries_must_agree():
    label = torch.zeros(2, 5, dtype=torch.int64)
    entries = [
        smoothing_entry(label, label + 30, label, label, settings_of(**change), NUM_CLASSES)
        for change in ({}, {"alpha": 0.05})
    ]
    with pytest.raises(ValueError, match="entry 1 has settings"):
        smoothing_summary(entries)
    with pytest.raises(ValueError, match="entries is empty"):
        smoothing_summary([])
