"""From logits to what it costs to change them: flip costs and entry costs of every pixel."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .validation import check_class_index, check_classifier, check_logits, check_norm

# Pixels per chunk: large enough for two threads, small enough for the cache and for a float64
# copy of a few dozen classes.
_CHUNK = 1 << 17
_PROJECTION_CHUNK = 1 << 14
# Relative step below which the projection has converged; the cost depends on its square.
_NEWTON_STOP = 1e-12


class Prediction(NamedTuple):
    """Labels and margins of N pixels.

    Attributes:
        label: ``(N,)`` predicted classes, uint8 (int32 above 255 classes).
        first: ``(N,)`` largest logit.
        second: ``(N,)`` second largest logit (the only one of a binary head).
        lower: ``(N,)`` l2 costs of changing the labels, in the dtype of the logits: a relative
            rounding of 2e-7 away from ``flip``.
        exact: ``(N,)`` the same in float64 where they do not follow from the two logits.
    """

    label: Tensor
    first: Tensor
    second: Tensor
    lower: Tensor
    exact: Tensor | None = None

    def flip(self, chosen: Tensor | None = None) -> Tensor:
        """Float64 l2 costs of changing the labels of all pixels, or of some by their numbers."""

        def pick(values: Tensor) -> Tensor:
            return values if chosen is None else values.index_select(0, chosen)

        if self.exact is not None:
            return pick(self.exact)
        first = pick(self.first).to(torch.float64, copy=True)
        return first.sub_(pick(self.second)).div_(math.sqrt(2))


def flatten_logits(logits: Tensor) -> Tensor:
    """View ``(..., K, H, W)`` logits as ``(K, N)``, in float32 or float64."""
    if logits.dtype not in (torch.float32, torch.float64):
        logits = logits.float()
    return logits.detach().movedim(-3, 0).flatten(1)


def top_two(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Predicted label, largest and second largest logit of every pixel, in one pass.

    A tie is predicted as the lowest tied class.

    Args:
        logits: ``(K, N)`` with K >= 2.

    Returns:
        Labels ``(N,)`` (uint8, int32 above 255 classes), largest and second logits ``(N,)`` in
        the dtype of the logits.
    """
    first = torch.empty_like(logits[0], memory_format=torch.contiguous_format)
    second = torch.full_like(first, -math.inf)
    label_dtype = torch.uint8 if logits.shape[0] <= 255 else torch.int32
    label = torch.empty(first.shape, dtype=label_dtype, device=logits.device)
    # Labels and comparisons have the dtype of the logits: PyTorch vectorizes no others.
    classes = torch.arange(len(logits), dtype=first.dtype, device=first.device).unbind()
    for start in range(0, logits.shape[1], _CHUNK):
        part = slice(start, start + _CHUNK)
        # Where the classes of a pixel are neighbors, they are parted in the cache.
        block = logits[:, part] if logits.stride(1) == 1 else logits[:, part].contiguous()
        best, runner_up = first[part].copy_(block[0]), second[part]
        winner, smaller, raised = (
            torch.zeros_like(best),
            torch.empty_like(best),
            torch.empty_like(best),
        )
        for number, plane in zip(classes[1:], block[1:], strict=True):
            torch.gt(plane, best, out=raised)
            torch.lerp(winner, number, raised, out=winner)  # exactly one of the two
            torch.minimum(best, plane, out=smaller)
            torch.maximum(runner_up, smaller, out=runner_up)
            torch.maximum(best, plane, out=best)
        label[part] = winner
    return label, first, second


def half_gaps(first: Tensor, other: Tensor) -> Tensor:
    """Lower bounds ``(first - other) / sqrt(2)`` of costs, in the dtype of the logits.

    Where the difference of two huge logits overflows, half of the largest number is one as well.
    """
    gaps = (first - other).mul_(math.sqrt(0.5))
    return gaps.clamp_(max=torch.finfo(gaps.dtype).max / 2)


def class_distances(classifier: Tensor) -> Tensor:
    """Distances between the rows of a classifier.

    Args:
        classifier: ``(K, C)`` weights of the last per-pixel affine map.

    Returns:
        ``(K, K)`` float64, or ``(1, 1)`` with the norm of the only row when K is 1.
    """
    rows = classifier.detach().double()
    if rows.shape[0] == 1:
        return rows.norm().reshape(1, 1)
    return (rows[:, None] - rows[None]).norm(dim=2)


def closing_costs(gap: Tensor, distance: Tensor) -> Tensor:
    """Feature-space cost of closing a logit gap >= 0: 0 / 0 is a tie (0), x / 0 is impossible.

    Args:
        gap: Logit differences ``(N,)``.
        distance: Distances between the classifier's rows ``(N,)``, or one of them.
    """
    return (gap / distance).nan_to_num(nan=0.0, posinf=math.inf)


def _aware_flip(logits: Tensor, label: Tensor, first: Tensor, distances: Tensor) -> Tensor:
    cost = torch.full(first.shape, math.inf, dtype=torch.float64, device=logits.device)
    for start in range(0, logits.shape[1], _CHUNK):
        part = slice(start, start + _CHUNK)
        winner, best = label[part].long(), first[part].double()
        for k in range(logits.shape[0]):
            other = closing_costs(best - logits[k, part].double(), distances[k][winner])
            other.masked_fill_(winner == k, math.inf)
            torch.minimum(cost[part], other, out=cost[part])
    return cost


def predict_with_costs(logits: Tensor, classifier: Tensor | None = None) -> Prediction:
    """Predicted labels and l2 flip costs of ``(K, N)`` logits, in one pass."""
    if logits.shape[0] == 1:
        label, cost = (logits[0] > 0).to(torch.uint8), logits[0].double().abs()
        if classifier is not None:
            cost = closing_costs(cost, class_distances(classifier).to(logits.device)[0])
        return Prediction(label, logits[0], logits[0], cost, cost)
    label, first, second = top_two(logits)
    if classifier is None:
        return Prediction(label, first, second, half_gaps(first, second))
    distances = class_distances(classifier).to(logits.device)
    cost = _aware_flip(logits, label, first, distances)
    return Prediction(label, first, second, cost, cost)


@torch.no_grad()
def predicted_labels(logits: Tensor) -> Tensor:
    """Predicted label of every pixel: the largest logit, the lowest class at a tie.

    Args:
        logits: ``(..., K, H, W)``; with K = 1, label 1 where the logit is > 0.

    Returns:
        ``(..., H, W)`` int64.

    Raises:
        ValueError: On NaN or infinite logits, or a wrong shape.
    """
    check_logits(logits, batched=True)
    label = predict_with_costs(flatten_logits(logits)).label
    return label.long().reshape(logits.shape[:-3] + logits.shape[-2:])


@torch.no_grad()
def flip_costs(logits: Tensor, norm: float = 2, classifier: Tensor | None = None) -> Tensor:
    r"""Smallest change of a pixel's logits, in l_p, that can change its predicted label.

    With K >= 2 logits it is :math:`2^{(1-p)/p} (z_{(1)} - z_{(2)})`. With one logit (a binary
    head: label 1 where the logit is > 0, else 0; shift the logits for another threshold) it is
    :math:`|z|`. A tie costs 0.

    With ``classifier``, the logits are :math:`z = W g + b` and the cost is measured in the
    features g: :math:`\min_j (z_i - z_j) / \|w_i - w_j\|_2` for the predicted class i (Tsuzuku
    et al. 2018, Lipschitz-margin training). A class whose row equals the predicted one's cannot be
    reached, unless its logit is tied. The budget is then the Lipschitz bound of the features times
    eps.

    Args:
        logits: ``(..., K, H, W)``.
        norm: p, one of 1, 2 and inf.
        classifier: ``(K, C)`` weights W of the last per-pixel affine map. Only with ``norm=2``.

    Returns:
        Float64 costs ``(..., H, W)``, in logit units (feature units with ``classifier``).

    Raises:
        ValueError: On NaN or infinite logits, a wrong shape, norm or classifier.

    Examples:
        >>> import torch
        >>> flip_costs(torch.tensor([[[3.0]], [[1.0]], [[0.0]]]), norm=1)
        tensor([[2.]], dtype=torch.float64)
    """
    check_logits(logits, batched=True)
    p = check_norm(norm)
    shape = logits.shape[:-3] + logits.shape[-2:]
    flat = flatten_logits(logits)
    if classifier is not None:
        check_classifier(classifier, flat.shape[0], norm)
    if classifier is not None or flat.shape[0] == 1:
        return predict_with_costs(flat, classifier).flip().reshape(shape)
    _, first, second = top_two(flat)
    scale = 0.5 if math.isinf(p) else 2 ** ((1 - p) / p)
    return ((first.double() - second.double()) * scale).reshape(shape)


def cone_distances(logits: Tensor, class_index: int) -> Tensor:
    r"""Exact l2 distance of logit vectors to the cone on which a class is the largest.

    The projection raises :math:`z_c` to a level t and lowers every larger logit to it, where
    :math:`t - z_c = \sum_j \max(0, z_j - t)`. The right side minus the left is convex and
    decreasing in t, so Newton's method from below never overshoots, and ends after at most K
    steps because every step removes a logit from the sum.

    Args:
        logits: ``(K, N)``.
        class_index: The class c.

    Returns:
        Float64 distances ``(N,)``.
    """
    result = torch.empty(logits.shape[1], dtype=torch.float64, device=logits.device)
    for start in range(0, logits.shape[1], _PROJECTION_CHUNK):
        z = logits[:, start : start + _PROJECTION_CHUNK].double()
        own = z[class_index]
        level = (z.amax(0) + own) / 2
        for _ in range(z.shape[0]):
            excess = (z - level).clamp_(min=0)
            missing = own + excess.sum(0) - level
            step = missing / (1 + excess.sign().sum(0))
            if not (step > _NEWTON_STOP * (level - own)).any():
                break
            level = level + step.clamp_(min=0)
        squared = (level - own).square() + (z - level).clamp_(min=0).square().sum(0)
        result[start : start + _PROJECTION_CHUNK] = squared.sqrt()
    return result


def half_space_distances(logits: Tensor, class_index: int, distances: Tensor) -> Tensor:
    """Largest distance to the half-spaces on which a class beats one other class.

    Args:
        logits: ``(K, N)``.
        class_index: The class c.
        distances: ``(K, K)`` of ``class_distances``.

    Returns:
        Float64 distances ``(N,)``; infinite where a class with the same row is larger.
    """
    cost = torch.zeros(logits.shape[1], dtype=torch.float64, device=logits.device)
    for start in range(0, logits.shape[1], _CHUNK):
        part = slice(start, start + _CHUNK)
        own = logits[class_index, part].double()
        for k in range(logits.shape[0]):
            gap = (logits[k, part].double() - own).clamp_(min=0)
            torch.maximum(cost[part], closing_costs(gap, distances[k, class_index]), out=cost[part])
    return cost


@torch.no_grad()
def entry_costs(
    logits: Tensor, class_index: int, norm: float = 2, classifier: Tensor | None = None
) -> Tensor:
    r"""Smallest change of a pixel's logits, in l_p, after which a class can be the predicted one.

    It is the distance to the cone :math:`\{z_c \ge z_j\ \forall j\}`: the exact projection for
    p = 2 (see ``cone_distances``), :math:`z_{(1)} - z_c` for p = 1, and half of it for p = inf.
    It is 0 where the class is already predicted or tied. With one logit it is :math:`|z|` where
    the other label is predicted.

    With ``classifier`` it is :math:`\max_j (z_j - z_c) / \|w_j - w_c\|_2`, the distance in feature
    space to the farthest half-space: a lower bound of the distance to their intersection, hence
    sound, but not exact. It is infinite where a larger logit has the same row.

    Args:
        logits: ``(..., K, H, W)``.
        class_index: The class c to be entered; 0 or 1 when K is 1.
        norm: p, one of 1, 2 and inf.
        classifier: ``(K, C)`` weights of the last per-pixel affine map. Only with ``norm=2``.

    Returns:
        Float64 costs ``(..., H, W)``, in logit units (feature units with ``classifier``).

    Raises:
        ValueError: On NaN or infinite logits, a wrong shape, class, norm or classifier.
    """
    check_logits(logits, batched=True)
    p = check_norm(norm)
    shape = logits.shape[:-3] + logits.shape[-2:]
    flat = flatten_logits(logits)
    class_index = check_class_index(class_index, max(2, flat.shape[0]), "entry_costs")
    if classifier is not None:
        check_classifier(classifier, flat.shape[0], norm)
    if flat.shape[0] == 1:
        prediction = predict_with_costs(flat, classifier)
        cost = prediction.flip().masked_fill(prediction.label == class_index, 0.0)
    elif classifier is not None:
        distances = class_distances(classifier).to(flat.device)
        cost = half_space_distances(flat, class_index, distances)
    elif p == 2:
        cost = cone_distances(flat, class_index)
    else:
        cost = flat.amax(0).double() - flat[class_index].double()
        cost = cost / 2 if math.isinf(p) else cost
    return cost.reshape(shape)
