"""The two questions of every metric on one image."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .budget import radius_of, squared_budget
from .image_problem import ImageProblem
from .iou import RatioProblem
from .knapsack import ShareProblem
from .means import MeanProblem
from .metrics import queried_metric
from .validation import (
    check_eps,
    check_lipschitz,
    check_threshold,
)


def _attacked(
    problem: ImageProblem, name: str, class_index: int | None, limit: float = math.inf
) -> ShareProblem | RatioProblem | MeanProblem:
    """A metric of an image under attack, for every squared budget up to a limit."""
    metric = queried_metric(name, class_index, problem.num_classes)
    if metric.scope == "mean":
        return MeanProblem(problem, metric, limit)
    if metric.ratio is None or class_index is None:
        return ShareProblem(problem, metric, class_index, limit)
    return RatioProblem(problem, metric, class_index, limit)


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
        metric: One of ``metrics.QUERIES``: pixel_accuracy, stability, recall, mIoU, ...
        eps: Norms of the perturbation, in [0, 1] pixel units.
        lipschitz: Joint Lipschitz bound of the map from image to logits (to features with
            ``classifier``).
        class_index: The class, for a metric of one class.
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
    budgets = [squared_budget(norm, bound) for norm in norms]
    attacked = _attacked(problem, metric, class_index, max(budgets))
    return torch.tensor([attacked.worst(b) for b in budgets], dtype=torch.float64)


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
        class_index: The class, for a metric of one class.
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
    attacked = _attacked(problem, metric, class_index)
    clean = attacked.worst(squared_budget(0.0, bound))
    if math.isnan(clean):
        return math.nan
    if clean < threshold:
        return 0.0
    return radius_of(attacked.lowest_budget(threshold), bound)
