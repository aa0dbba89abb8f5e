import itertools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_lipcert.certificates import (
    dataset_summary,
    image_entry,
)

from .cases import IGNORE, datasets
from .reference import divide, same, worst_dataset_ratio, worst_pooled_share


@given(datasets(), st.sampled_from([0.0, 0.3, 0.7, 1.0, 1.5, 5.0]))
def test_summary_is_the_minimum_over_all_combinations(dataset, eps):
    entries = [image_entry(case.logits, case.target, eps, 1.0) for case in dataset]
    # Entries survive their way through a file, in any order.
    entries = json.loads(json.dumps(entries[::-1]))
    figures = dataset_summary(entries)["certified"][0]
    maps = [case.maps for case in dataset]
    for c, values in enumerate(figures["per_class"]):
        for ratio in ("iou", "dice"):
            assert same(values[ratio], worst_dataset_ratio(maps, c, eps, ratio))
        for metric in ("recall", "specificity"):
            assert same(values[metric], worst_pooled_share(maps, metric, c, eps))
    assert same(
        figures["pixel_accuracy_dataset"], worst_pooled_share(maps, "pixel_accuracy", None, eps)
    )
    for metric in ("pixel_accuracy", "stability"):
        own = [c.maps.worst(metric, None, c.maps.budget(eps, 1.0)) for c in dataset]
        own = [v for v in own if not math.isnan(v)]
        assert same(figures[metric], np.mean(own) if own else math.nan)
        if metric == "pixel_accuracy":
            assert same(figures["pixel_accuracy_lowest"], min(own, default=math.nan))


@given(datasets(max_images=2, max_pixels=3), st.sampled_from([0.0, 0.3, 0.7, 1.0, 1.5]))
def test_mean_iou_is_below_what_any_attack_leaves(dataset, eps):
    entries = [image_entry(case.logits, case.target, eps, 1.0) for case in dataset]
    summary = dataset_summary(entries)
    classes = range(dataset[0].num_classes)
    terms = [
        np.stack([np.stack(np.broadcast_arrays(*case.maps.terms(c))) for c in classes])
        for case in dataset
    ]
    allowed = [np.flatnonzero(c.maps.cost <= c.maps.budget(eps, 1.0)) for c in dataset]
    for chosen in itertools.product(*allowed):
        hit, gt_area, pred_area = sum(t[:, :, k] for t, k in zip(terms, chosen, strict=True)).T
        reported = {
            "mIoU": divide(hit, gt_area + pred_area - hit),
            "mDice": divide(2 * hit, gt_area + pred_area),
            "mAcc": divide(hit, gt_area),
        }
        for name, values in reported.items():
            if np.isnan(values).all():
                assert math.isnan(summary["certified"][0][name])
                continue
            assert summary["certified"][0][name] <= np.nanmean(values) + 1e-12
            if eps == 0:
                assert same(summary["clean"][name], np.nanmean(values))
    if eps == 0:
        for name in ("pixel_accuracy", "mIoU", "mAcc", "mDice", "mSpecificity", "stability"):
            assert same(summary["clean"][name], summary["certified"][0][name])


@given(datasets(max_pixels=6), st.integers(2, 4), st.floats(0.0, 3.0))
def test_fewer_vertices_only_lower_the_bound(dataset, vertices, eps):
    exact = [image_entry(case.logits, case.target, eps, 1.0) for case in dataset]
    coarse = [
        image_entry(case.logits, case.target, eps, 1.0, max_vertices=vertices) for case in dataset
    ]
    exact, coarse = dataset_summary(exact), dataset_summary(coarse)
    for fine, rough in zip(
        exact["certified"][0]["per_class"], coarse["certified"][0]["per_class"], strict=True
    ):
        for name in ("iou", "dice"):
            assert math.isnan(fine[name]) == math.isnan(rough[name])
            assert math.isnan(fine[name]) or 0 <= rough[name] <= fine[name] + 1e-15


def test_empty_images_leave_the_means_and_the_pools_alone():
    logits, target = torch.randn(3, 5, 5), torch.randint(0, 3, (5, 5))
    void = torch.full((5, 5), IGNORE)
    options = dict(eps=[0.1, 1.0], lipschitz=1.0, thresholds=[0.1], shares=[0.5])
    full = image_entry(logits, target, **options)
    empty = json.loads(json.dumps(image_entry(logits, void, **options)))
    alone, both = dataset_summary([full]), dataset_summary([full, empty])
    assert both.pop("images") == 2 and alone.pop("images") == 1
    assert json.dumps(both) == json.dumps(alone)
    nothing = dataset_summary([empty])
    assert math.isnan(nothing["clean"]["pixel_accuracy"])
    assert math.isnan(nothing["certified"][1]["mIoU"])
    assert math.isnan(nothing["radius"][0]["mean"])


def test_the_worst_image_is_named_whatever_the_order():
    logits = torch.zeros(2, 1, 4)
    logits[0] = torch.tensor([4.0, 3.0, 2.0, 1.0])
    entries = []
    for name, wrong in (("b", 1), ("a", 1), ("c", 0), ("void", 4)):
        target = torch.zeros(1, 4, dtype=torch.long)
        target[0, :wrong] = IGNORE if wrong == 4 else 1
        entries.append({**image_entry(logits, target, [1.0], 1.0), "image": name})
    for some in itertools.permutations(entries):
        summary = dataset_summary(some)
        for row, lowest in ((summary["clean"], 0.75), (summary["certified"][0], 0.5)):
            assert (row["pixel_accuracy_lowest"], row["lowest_image"]) == (lowest, "a")
    without_names = dataset_summary([{**e, "image": None} for e in entries])
    assert without_names["clean"]["lowest_image"] is None
    assert dataset_summary(entries[3:])["clean"]["lowest_image"] is None


def test_radii_are_averaged_as_radii():
    target = torch.zeros(1, 2, dtype=torch.long)
    root = math.sqrt(2)
    entries = [
        image_entry(
            torch.tensor([[[m * root, m * root]], [[0.0, 0.0]]]),
            target,
            0.1,
            2.0,
            thresholds=[0.9, 0.5],
            shares=[0.5, 1.0],
        )
        for m in (1.0, 3.0, 8.0)
    ]
    summary = dataset_summary(entries)
    (first, second) = summary["radius"]
    assert first["mean"] == pytest.approx(2.0) and first["median"] == pytest.approx(1.5)
    assert second["mean"] == pytest.approx(2.0 * root)
    assert [p["radius"] for p in summary["curve"]] == pytest.approx([2.0, 2.0 * root])


def test_entries_that_do_not_belong_together_are_refused():
    logits, target = torch.randn(3, 2, 2), torch.zeros(2, 2, dtype=torch.long)
    entry = image_entry(logits, target, [0.1], 1.0)
    with pytest.raises(ValueError, match="empty"):
        dataset_summary([])
    with pytest.raises(ValueError, match="entry 1 has eps"):
        dataset_summary([entry, image_entry(logits, target, [0.2], 1.0)])
    with pytest.raises(ValueError, match="number of classes"):
        dataset_summary([entry, image_entry(logits[:2], target, [0.1], 1.0)])
    with pytest.raises(ValueError, match="thresholds"):
        dataset_summary([entry, image_entry(logits, target, [0.1], 1.0, thresholds=[0.5])])
