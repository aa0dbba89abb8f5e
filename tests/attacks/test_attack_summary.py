"""Figures of attacked datasets against brute force over all choices of one attack per image."""

import itertools
import math

import numpy as np
import pytest
import torch

from mmseg_lipcert.attacks import attack_summary, label_counts, refuted
from mmseg_lipcert.certificates import image_entry

CLASSES = 3


def random_line(seed, images_eps=(0.1, 0.5), attacks=2):
    generator = torch.Generator().manual_seed(seed)

    def labels():
        return torch.randint(0, CLASSES, (3, 4), generator=generator)

    target, clean = labels(), labels()
    target[0, 0] = 255
    maps = [[labels() for _ in range(attacks)] for _ in images_eps]

    def counts(found):
        return label_counts(found, clean, target, CLASSES)

    return {
        "image": str(seed),
        "eps": list(images_eps),
        "valid": int((target != 255).sum()),
        "gt_area": counts(target)["pred_area"],
        "clean": counts(clean),
        "attacks": [
            [{"attack": f"a{i}", "norm": eps, **counts(found)} for i, found in enumerate(row)]
            for eps, row in zip(images_eps, maps, strict=True)
        ],
        "certified": None,
        "violations": [],
    }


def figures(choice, lines):
    """Metrics of the dataset when each image is predicted with these counts."""
    hit = np.array([c["intersection"] for c in choice], dtype=float).sum(0)
    area = np.array([c["pred_area"] for c in choice], dtype=float).sum(0)
    truth = np.array([line["gt_area"] for line in lines], dtype=float).sum(0)
    valid = sum(line["valid"] for line in lines)
    accuracies = [c["correct"] / line["valid"] for c, line in zip(choice, lines, strict=True)]
    with np.errstate(invalid="ignore", divide="ignore"):
        iou, dice = hit / (truth + area - hit), 2 * hit / (truth + area)
        recall, specificity = hit / truth, 1 - (area - hit) / (valid - truth)
    return {
        "pixel_accuracy": np.mean(accuracies),
        "pixel_accuracy_lowest": min(accuracies),
        "pixel_accuracy_dataset": sum(c["correct"] for c in choice) / valid,
        "stability": np.mean(
            [c["stable"] / line["valid"] for c, line in zip(choice, lines, strict=True)]
        ),
        "mIoU": np.nanmean(iou),
        "mDice": np.nanmean(dice),
        "mAcc": np.nanmean(recall),
        "mSpecificity": np.nanmean(specificity),
        "iou": iou,
        "dice": dice,
        "recall": recall,
        "specificity": specificity,
    }


@pytest.mark.parametrize("seed", range(5))
def test_attacked_figures_are_the_lowest_that_is_attained(seed):
    lines = [random_line(10 * seed + n) for n in range(3)]
    summary = attack_summary(lines)
    for i, row in enumerate(summary["attacked"]):
        # What was found for a smaller eps is allowed for a larger one.
        pools = [
            [line["clean"], *itertools.chain.from_iterable(line["attacks"][: i + 1])]
            for line in lines
        ]
        attained = [figures(choice, lines) for choice in itertools.product(*pools)]
        for name in (
            "pixel_accuracy", "pixel_accuracy_lowest", "pixel_accuracy_dataset", "stability",
        ):  # fmt: skip
            assert row[name] == pytest.approx(min(a[name] for a in attained)), name
        for name in ("iou", "dice", "recall", "specificity"):
            lowest = np.nanmin([a[name] for a in attained], axis=0)
            found = [values[name] for values in row["per_class"]]
            assert found == pytest.approx(lowest.tolist()), name
        for name in ("mIoU", "mDice", "mAcc", "mSpecificity"):
            # A descent image by image: attained by a choice, and close to the best one.
            values = [a[name] for a in attained]
            assert min(abs(value - row[name]) for value in values) < 1e-12, name
            assert row[name] <= np.quantile(values, 0.02) + 1e-12, name


def test_figures_fall_with_eps():
    lines = [random_line(n) for n in range(4)]
    small, large = attack_summary(lines)["attacked"]
    for name in ("pixel_accuracy", "stability", "mIoU", "mAcc", "mDice"):
        assert large[name] <= small[name]


def test_strongest_attacks_are_counted():
    lines = [random_line(n) for n in range(6)]
    for i, counts in enumerate(attack_summary(lines)["strongest"]):
        assert sum(counts.values()) == 6 and set(counts) <= {"a0", "a1"}
        fewest = [
            min(c["correct"] for row in line["attacks"][: i + 1] for c in row) for line in lines
        ]
        for name, number in counts.items():
            able = sum(
                any(
                    c["attack"] == name and c["correct"] == best
                    for row in line["attacks"][: i + 1]
                    for c in row
                )
                for line, best in zip(lines, fewest, strict=True)
            )
            assert number <= able


def test_images_without_labels_do_not_count():
    empty = random_line(1)
    nothing = dict(correct=0, stable=0, intersection=[0] * 3, pred_area=[0] * 3)
    empty.update(valid=0, gt_area=[0] * 3, clean=nothing)
    empty["attacks"] = [[{"attack": "a0", "norm": 0.1, **nothing}] for _ in range(2)]
    lines = [random_line(2), random_line(3)]
    with_it, without = attack_summary([*lines, empty]), attack_summary(lines)
    for a, b in zip(with_it["attacked"], without["attacked"], strict=True):
        assert a["pixel_accuracy"] == b["pixel_accuracy"] and a["mIoU"] == b["mIoU"]
    assert math.isnan(attack_summary([empty])["clean"]["pixel_accuracy"])


@pytest.fixture
def certified():
    """A certificate, its labels, and the change of logits that it allows."""
    logits = torch.randn(CLASSES, 6, 6, dtype=torch.float64)
    target = torch.randint(0, CLASSES, (6, 6))
    target[0] = 255
    return logits, target, image_entry(logits, target, [0.5], 1.0)


def test_no_change_of_logits_within_the_budget_is_a_refutation(certified):
    logits, target, entry = certified
    clean = logits.argmax(0)
    for seed in range(200):
        change = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed))
        change *= torch.rand(change.shape[1:], generator=torch.Generator().manual_seed(seed)) < 0.1
        attacked = (logits + 0.4999 * change / change.norm().clamp_min(1e-9)).argmax(0)
        assert refuted(entry, 0, label_counts(attacked, clean, target, CLASSES)) == []


def test_each_metric_is_compared(certified):
    logits, target, _ = certified
    entry = image_entry(logits, target, [1e-6], 1.0)
    clean = logits.argmax(0)
    everything = torch.where(clean == target, (target + 1) % CLASSES, clean)
    names = refuted(entry, 0, label_counts(everything, clean, target, CLASSES))
    assert "pixel_accuracy" in names and "stability" in names
    assert {f"{m}/{c}" for m in ("recall", "iou", "dice") for c in range(3)} <= set(names)
    wrong = torch.where(target != 2, 2, clean)
    assert "specificity/2" in refuted(entry, 0, label_counts(wrong, clean, target, CLASSES))


def test_class_that_cannot_be_created_must_not_appear():
    logits = torch.tensor([9.0, 0.0]).view(2, 1, 1).expand(2, 2, 2).contiguous()
    target = torch.zeros(2, 2, dtype=torch.long)
    entry = image_entry(logits, target, [0.1], 1.0)
    assert entry["iou"][0][1] is None
    clean, attacked = torch.zeros(2, 2), torch.tensor([[0, 0], [0, 1]])
    names = refuted(entry, 0, label_counts(attacked, clean, target, 2))
    assert {"iou/1", "dice/1", "specificity/1"} <= set(names)
    assert refuted(entry, 0, label_counts(target, clean, target, 2)) == []
