"""Attacks that really change logits: never below the certificate, and close to it.

The attacks know nothing of sorting or prefix sums. Each pixel is changed when its price is below a
multiplier, the change is added to the logits, its norm is measured, the metric is read off the
arg max, and the multipliers are searched; the gradient attack descends a smooth surrogate.
"""

import math

import pytest
import torch

from mmseg_lipcert.certificates import dataset_worst_case_iou, worst_case

CLASSES, SHAPE = 8, (48, 64)


def setting():
    logits = torch.randn(CLASSES, *SHAPE, dtype=torch.float64)
    target = logits.argmax(0)
    noisy = torch.rand(SHAPE) < 0.2
    target[noisy] = torch.randint(0, CLASSES, (int(noisy.sum()),))
    return logits, target


def leave(logits):
    """The change that ties the two largest logits of every pixel, and a little more."""
    top = logits.topk(2, dim=0)
    half = (top.values[0] - top.values[1]) / 2 * (1 + 1e-7) + 1e-9
    change = torch.zeros_like(logits)
    change.scatter_(0, top.indices[:1], -half[None])
    return change.scatter_(0, top.indices[1:], half[None])


def enter(logits, c):
    """The change that projects every pixel onto the cone of a class, by bisecting its level."""
    low, high = logits[c].clone(), logits.amax(0)
    for _ in range(80):
        level = (low + high) / 2
        enough = level - logits[c] >= (logits - level).clamp(min=0).sum(0)
        high, low = torch.where(enough, level, high), torch.where(enough, low, level)
    change = -(logits - high).clamp(min=0)
    change[c] = high - logits[c] + 1e-7 * (high - logits[c]) + 1e-9
    return change


def metric_value(logits, target, metric, c):
    pred = logits.argmax(0)
    if metric == "pixel_accuracy":
        return (pred == target).double().mean().item()
    hit = ((pred == c) & (target == c)).sum().item()
    gt_area, pred_area = (target == c).sum().item(), (pred == c).sum().item()
    if metric == "recall":
        return hit / gt_area
    if metric == "specificity":
        return 1 - (pred_area - hit) / (target.numel() - gt_area)
    return {
        "iou": hit / max(gt_area + pred_area - hit, 1),
        "dice": 2 * hit / (gt_area + pred_area),
    }[metric]


def priced_attack(logits, target, metric, c, budget, worth):
    """Change every useful pixel whose squared price per worth is below a multiplier."""
    pred = logits.argmax(0)
    useful = pred == target if c is None else (pred == c) & (target == c)
    out = leave(logits)
    if metric == "specificity":
        useful = torch.zeros_like(useful)
    change = torch.where(useful, out, 0.0)
    gain = useful.double()
    if metric in ("iou", "dice", "specificity"):
        made = (pred != c) & (target != c)
        change = torch.where(made, enter(logits, c), change)
        gain = torch.where(made, worth, gain)
    price = change.square().sum(0) / gain
    low, high = 0.0, 2 * price[gain > 0].max().item()
    for _ in range(60):
        multiplier = (low + high) / 2
        chosen = torch.where((price <= multiplier) & (gain > 0), change, 0.0)
        low, high = (multiplier, high) if chosen.norm() <= budget else (low, multiplier)
    return torch.where((price <= low) & (gain > 0), change, 0.0)


@pytest.mark.parametrize("eps", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("metric", ["pixel_accuracy", "recall", "specificity", "iou", "dice"])
def test_priced_attack_stays_above_and_comes_within_two_percent(metric, eps):
    logits, target = setting()
    c = None if metric == "pixel_accuracy" else 3
    lipschitz = 1.5
    certified = worst_case(logits, target, metric, eps, lipschitz, class_index=c).item()
    clean = metric_value(logits, target, metric, c)
    best = clean
    for worth in torch.linspace(0.02, 1.0, 25):
        change = priced_attack(logits, target, metric, c, eps * lipschitz, worth.item())
        assert change.norm() <= eps * lipschitz
        best = min(best, metric_value(logits + change, target, metric, c))
    assert best >= certified
    assert best <= certified * 1.02 + 1e-12
    assert certified < clean


@pytest.mark.parametrize("metric", ["pixel_accuracy", "iou"])
def test_gradient_attack_stays_above(metric):
    logits, target = setting()
    c = None if metric == "pixel_accuracy" else 3
    budget = 4.0
    certified = worst_case(logits, target, metric, budget, 1.0, class_index=c).item()
    change = torch.zeros_like(logits, requires_grad=True)
    goal = target if c is None else torch.full_like(target, c)
    sign = 1.0 if c is None else (target == c).double() * 2 - 1
    lowest = math.inf
    for step in range(150):
        moved = logits + change
        own = moved.gather(0, goal[None])[0]
        others = moved.scatter(0, goal[None], -math.inf).amax(0)
        # Pixels near the boundary are worth pushing; far ones are not.
        loss = torch.sigmoid(sign * (own - others) * (2 + step / 10)).sum()
        (gradient,) = torch.autograd.grad(loss, change)
        with torch.no_grad():
            change -= 0.3 * gradient / gradient.norm() * budget
            change *= min(1.0, budget / change.norm().item())
            lowest = min(lowest, metric_value(logits + change, target, metric, c))
    assert certified <= lowest < metric_value(logits, target, metric, c)


def test_dataset_attack_stays_above_and_comes_within_two_percent():
    images, c, budget = [setting() for _ in range(3)], 2, 3.0
    certified = dataset_worst_case_iou(images, c, budget, 1.0)
    best = math.inf
    for worth in torch.linspace(0.02, 1.0, 25):
        hit = union = 0
        for logits, target in images:
            change = priced_attack(logits, target, "iou", c, budget, worth.item())
            assert change.norm() <= budget
            pred = (logits + change).argmax(0)
            hit += ((pred == c) & (target == c)).sum().item()
            union += ((pred == c) | (target == c)).sum().item()
        best = min(best, hit / union)
    assert certified <= best <= certified * 1.02
