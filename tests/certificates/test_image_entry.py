import json

import pytest
import torch

from mmseg_lipcert.certificates import (
    dataset_summary,
    image_entry,
    worst_case,
)

from .cases import IGNORE


def test_entry_agrees_with_the_single_queries():
    logits = torch.randn(4, 60, 70)
    target = torch.where(torch.rand(60, 70) < 0.7, logits.argmax(0), 1)
    target[:3] = IGNORE
    weights = torch.randint(0, 4, (60, 70))
    classifier = torch.randn(4, 9)
    eps = [0.0, 0.2, 1.0, 3.0]
    for options in ({}, {"weights": weights}, {"classifier": classifier}):
        entry = image_entry(logits, target, eps, 2.0, max_vertices=1000, **options)
        summary = dataset_summary([entry])
        for i in range(len(eps)):
            figures = summary["certified"][i]
            for metric in ("pixel_accuracy", "stability"):
                (value,) = worst_case(logits, target, metric, eps[i], 2.0, **options).tolist()
                assert figures[metric] == pytest.approx(value, abs=1e-12)
            for c in range(4):
                for metric in ("recall", "specificity", "iou", "dice"):
                    (value,) = worst_case(
                        logits, target, metric, eps[i], 2.0, class_index=c, **options
                    ).tolist()
                    assert figures["per_class"][c][metric] == pytest.approx(value, abs=1e-12)
                    if metric in ("iou", "dice"):
                        assert entry[metric][i][c] == pytest.approx(value, abs=1e-12)
        norms = [point["radius"] for point in summary["accuracy_curve"]]
        assert norms[0] == 0 and norms[-1] == 3.0 and norms == sorted(norms)
        expected = worst_case(logits, target, "pixel_accuracy", norms, 2.0, **options).tolist()
        found = [point["pixel_accuracy"] for point in summary["accuracy_curve"]]
        assert found == pytest.approx(expected, abs=1e-12)
        assert found[0] == summary["clean"]["pixel_accuracy"] > found[-1]


def test_pruned_entries_are_small_and_lose_little():
    logits = torch.randn(6, 200, 300) * 0.2
    target = torch.where(torch.rand(200, 300) < 0.8, logits.argmax(0), 0)
    eps = [0.1, 0.5, 1.0]
    entry = image_entry(logits, target, eps, 1.0)
    assert len(json.dumps(entry)) < 20_000
    exact = image_entry(logits, target, eps, 1.0, max_vertices=10**6)
    assert max(len(hull) for hulls in exact["frontier"] for hull in hulls) > 64
    rough, fine = dataset_summary([entry]), dataset_summary([exact])
    for i in range(3):
        drop = rough["clean"]["mIoU"] - fine["certified"][i]["mIoU"]
        gap = fine["certified"][i]["mIoU"] - rough["certified"][i]["mIoU"]
        assert 0 <= gap < 2e-3 * drop


def test_confusion_counts():
    logits = torch.tensor([[[2.0, 0.0, 1.0, 0.0]], [[0.0, 3.0, 0.0, 1.0]]])
    target = torch.tensor([[0, 0, 1, IGNORE]])
    entry = image_entry(logits, target, 0.0, 1.0)
    assert (entry["valid"], entry["correct"]) == (3, 1)
    assert entry["intersection"] == [1, 0]
    assert entry["gt_area"] == [2, 1]
    assert entry["pred_area"] == [2, 1]
    assert entry["frontier"] == [[[[0, 0]], [[0, 0]]]]


def test_bad_input_is_named():
    logits, target = torch.randn(3, 2, 2), torch.zeros(2, 2, dtype=torch.long)
    with pytest.raises(ValueError, match="thresholds must be in .0, 1., got 70"):
        image_entry(logits, target, 0.1, 1.0, thresholds=[70])
    with pytest.raises(ValueError, match="shares must be in .0, 1., got 0"):
        image_entry(logits, target, 0.1, 1.0, shares=[0.0])
    with pytest.raises(ValueError, match="max_vertices must be at least 2, got 1"):
        image_entry(logits, target, 0.1, 1.0, max_vertices=1)
