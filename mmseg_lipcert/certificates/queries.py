"""The two questions of every metric on one image, and the radius of every pixel."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .budget import radius_of, squared_budget
from .image_problem import ImageProblem
from .iou import class_terms, ratio_budget, worst_ratio
from .knapsack import ONE_GROUP_METRICS, share_budget, share_problem, worst_share
from .margins import flip_costs, predicted_labels
from .means import MEAN_METRICS, MeanProblem, mean_budget
from .ratio import RATIO_METRICS
from .validation import (
    check_class_index,
    check_eps,
    check_integer_map,
    check_labels,
    check_lipschitz,
    check_threshold,
)

METRICS = (*ONE_GROUP_METRICS, *RATIO_METRICS, *MEAN_METRICS)
_PER_CLASS = ("recall", "specificity", *RATIO_METRICS)


def _check_metric(metric: str, class_index: int | None, num_classes: int) -> None:
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}: choose one of {', '.join(METRICS)}")
    if metric in _PER_CLASS:
        check_class_index(class_index, num_classes, metric)
    elif class_index is not None:
        raise ValueError(f"{metric} is not per class: drop class_index={class_index}")


def worst_case(
    logits: Tensor,
    target: Tensor,
    metric: str,
    eps: float | Sequence[float],
    lipschitz: float,
    *,
    class_index: int | None = None,
    ignore_index: int = 255,
    weights: Tensor | None = None,
    classifier: Tensor | None = None,
) -> Tensor:
    """Q1: the value of a metric that no l2 perturbation of the image of norm eps can undercut.

    ``eps = 0`` gives the clean value; for any other the attacker wins ties. What counts, and what
    is NaN, is in the package docstring.

    Args:
        logits: ``(K, H, W)``, or ``(1, H, W)`` for a binary head.
        target: Labels ``(H, W)``, or label counts ``(classes, H, W)`` when a logit pixel stands
            for image pixels of several labels.
        metric: pixel_accuracy, stability, recall, specificity, iou, dice, macc, miou or mdice.
        eps: Norms of the perturbation, in [0, 1] pixel units.
        lipschitz: Joint Lipschitz bound of the map from image to logits (to features with
            ``classifier``).
        class_index: The class, for recall, specificity, iou and dice.
        ignore_index: Label of the pixels that never count.
        weights: ``(H, W)`` image pixels that each logit pixel stands for.
        classifier: ``(K, C)`` weights of the last affine map, for costs in feature space.

    Returns:
        ``(len(eps),)`` float64 on the CPU.

    Raises:
        ValueError: On any input that cannot be certified, naming it.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]])
        >>> worst_case(logits, torch.tensor([[0, 1]]), "pixel_accuracy", [0, 0.8, 2], 1.0)
        tensor([1.0000, 0.5000, 0.0000], dtype=torch.float64)
    """
    norms, bound = check_eps(eps), check_lipschitz(lipschitz)
    problem = ImageProblem(
        logits, target, ignore_index=ignore_index, weights=weights, classifier=classifier
    )
    _check_metric(metric, class_index, problem.num_classes)
    budgets = [squared_budget(norm, bound) for norm in norms]
    if metric in MEAN_METRICS:
        mean = MeanProblem(problem, metric, max(budgets))
        values = [mean.worst(budget) for budget in budgets]
    elif metric in RATIO_METRICS:
        values = worst_ratio(problem, RATIO_METRICS[metric], class_index, budgets)
    else:
        terms = share_problem(problem, metric, class_index, max(budgets))
        values = [worst_share(*terms, budget) for budget in budgets]
    return torch.tensor([float(v) for v in values], dtype=torch.float64)


def robustness_radius(
    logits: Tensor,
    target: Tensor,
    metric: str,
    threshold: float,
    lipschitz: float,
    *,
    class_index: int | None = None,
    ignore_index: int = 255,
    weights: Tensor | None = None,
    classifier: Tensor | None = None,
) -> float:
    """Q2: the supremum of the norms under which a metric is guaranteed to stay >= a threshold.

    Every eps below the radius r is certified; at r the attacker reaches the tie, so r itself is
    not: ``worst_case(eps) >= threshold`` for eps < r and ``< threshold`` for eps > r.

    Args:
        logits: ``(K, H, W)``, or ``(1, H, W)`` for a binary head.
        target: Labels ``(H, W)`` or label counts ``(classes, H, W)``.
        metric: As in ``worst_case``.
        threshold: The value to be guaranteed.
        lipschitz: Joint Lipschitz bound of the map from image to logits (to features with
            ``classifier``).
        class_index: The class, for recall, specificity, iou and dice.
        ignore_index: Label of the pixels that never count.
        weights: ``(H, W)`` image pixels that each logit pixel stands for.
        classifier: ``(K, C)`` weights of the last affine map, for costs in feature space.

    Returns:
        The radius in [0, 1] pixel units: 0 when the clean value is already below the threshold,
        infinite when no attack suffices, NaN when the clean value is NaN.

    Raises:
        ValueError: On any input that cannot be certified, naming it.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]])
        >>> round(robustness_radius(logits, torch.tensor([[0, 1]]), "iou", 0.6, 1.0,
        ...                         class_index=0), 6)
        0.707107
    """
    threshold, bound = check_threshold(threshold), check_lipschitz(lipschitz)
    problem = ImageProblem(
        logits, target, ignore_index=ignore_index, weights=weights, classifier=classifier
    )
    _check_metric(metric, class_index, problem.num_classes)
    nothing = squared_budget(0.0, bound)
    if metric in MEAN_METRICS:
        clean = MeanProblem(problem, metric, nothing).worst(nothing)
    elif metric in RATIO_METRICS:
        ratio = RATIO_METRICS[metric]
        good, area = class_terms(problem, ratio, class_index)
        clean = ratio.value(good, area, 0.0, 0.0).item()
    else:
        terms = share_problem(problem, metric, class_index, math.inf)
        clean = float(worst_share(*terms, nothing))
    if math.isnan(clean):
        return math.nan
    if clean < threshold:
        return 0.0
    if metric in MEAN_METRICS:
        budget = mean_budget(problem, metric, threshold, can_hold=classifier is not None)
    elif metric in RATIO_METRICS:
        breakable = problem.true_positives(class_index)
        makeable = problem.true_negatives(class_index)
        budget = ratio_budget(ratio, good, area, breakable, makeable, threshold)
    else:
        budget = share_budget(*terms, threshold)
    return radius_of(budget, bound)


def pixel_radius_map(
    logits: Tensor,
    lipschitz: float,
    target: Tensor | None = None,
    *,
    ignore_index: int = 255,
    classifier: Tensor | None = None,
) -> Tensor:
    """Norm of the perturbation below which the prediction of each pixel, alone, cannot change.

    Args:
        logits: ``(K, H, W)``, or ``(1, H, W)`` for a binary head.
        lipschitz: Joint Lipschitz bound of the map from image to logits (to features with
            ``classifier``).
        target: Labels ``(H, W)``. When given, the radius is 0 where the prediction is wrong and
            NaN where the label is ignored.
        ignore_index: Label of the pixels that never count.
        classifier: ``(K, C)`` weights of the last affine map, for costs in feature space.

    Returns:
        ``(H, W)`` float64 radii in [0, 1] pixel units: flip cost / lipschitz (THEORY: R_w).

    Raises:
        ValueError: On any input that cannot be certified, naming it.
    """
    radius = flip_costs(logits, classifier=classifier) / check_lipschitz(lipschitz)
    if target is None:
        return radius
    target = target.to(logits.device)
    check_integer_map(target, tuple(logits.shape[1:]), "target")
    check_labels(target, max(2, logits.shape[0]), ignore_index)
    radius = radius.masked_fill(predicted_labels(logits) != target, 0.0)
    return radius.masked_fill(target == ignore_index, math.nan)
