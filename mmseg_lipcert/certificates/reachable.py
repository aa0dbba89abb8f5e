"""Which pixels can an attacker afford at all: only those are measured exactly and sorted."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

# Below this number of items everything is taken; above, this many are sampled for a first guess.
_DIRECT = 1 << 14
# Lower bounds may be float32: their rounding must not exclude an item.
_ROUNDING = 1 + 1e-5
_SUBNORMAL = 1e-44


def _first_guess(lower: Tensor, mask: Tensor, profits: Tensor | None, limit: float) -> float:
    """Cost per profit up to which the items probably exceed the budget, from a regular sample."""
    stride = lower.numel() // _DIRECT
    chosen = mask[::stride]
    squares = lower[::stride][chosen].double().square().cpu().numpy()
    ratio = squares
    if profits is not None:
        ratio = squares / profits[::stride][chosen].double().cpu().numpy()
    order = np.argsort(ratio)
    place = np.searchsorted(np.cumsum(squares[order]) * stride, 1.25 * limit, side="right")
    # The exact squared cost can be twice its bound (half-space against cone), usually less.
    return 1.5 * ratio[order[place]].item() if place < len(order) else math.inf


def _numbers(mask: Tensor) -> Tensor:
    """Numbers of the items; on a CPU, NumPy finds them several times as fast as PyTorch."""
    if mask.is_cuda:
        return mask.nonzero().squeeze(1)
    return torch.from_numpy(np.flatnonzero(mask.cpu().numpy()))


def cheapest_cost(lower: Tensor, mask: Tensor, measure: Callable[[Tensor], Tensor]) -> float:
    """Lower bound of all items' squared costs; exact when no cost exceeds its bound by sqrt 2.

    Args:
        lower: ``(N,)`` lower bounds of the costs (distances, not squared).
        mask: ``(N,)`` which of them are items; at least one.
        measure: From pixel numbers ``(n,)`` to their exact costs ``(n,)``, float64.
    """
    reach = math.sqrt(2) * lower[mask].min().item() * _ROUNDING
    nearest = _numbers((lower <= reach * _ROUNDING) & mask)
    cost = min(measure(nearest).min().item(), reach)
    return cost * cost


def reachable_items(
    lower: Tensor,
    mask: Tensor,
    profits: Tensor | None,
    measure: Callable[[Tensor], Tensor],
    limit: float,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Squared costs (and profits) of every item that an attack within a budget can use.

    With items in the order of exact squared cost per profit, an attack uses the head whose
    squared costs sum to at most ``limit``, and the next item in part. An item whose lower bound
    exceeds a ratio tau has an exact ratio above tau, so the measured items up to tau are a
    complete head, long enough once their sum exceeds the budget. tau starts from a sample and
    grows until then; the result never depends on the sample.

    Args:
        lower: ``(N,)`` lower bounds of the costs (distances, not squared).
        mask: ``(N,)`` which of them are items.
        profits: ``(N,)`` gains, positive where ``mask``; None when all are equal.
        measure: From pixel numbers ``(n,)`` to their exact costs ``(n,)``, float64.
        limit: Largest squared budget that will be asked about; may be infinite.

    Returns:
        Finite squared costs ``(n,)``, unsorted, and their profits, or None without profits.
    """
    tau = math.inf
    if lower.numel() > _DIRECT and not math.isinf(limit):
        tau = _first_guess(lower, mask, profits, limit)
    growth = 2.0
    while True:
        if tau == 0 or math.isinf(tau):
            tau, candidates = math.inf, mask
        elif profits is None:
            candidates = (lower <= math.sqrt(tau) * _ROUNDING + _SUBNORMAL) & mask
        else:
            candidates = (lower.double() <= (profits * tau).sqrt() * _ROUNDING + _SUBNORMAL) & mask
        chosen = _numbers(candidates)
        costs = measure(chosen).square().cpu().numpy()
        gains = None if profits is None else profits[chosen].double().cpu().numpy()
        head = np.isfinite(costs) & ((costs if gains is None else costs / gains) <= tau)
        costs = np.compress(head, costs)
        gains = None if gains is None else np.compress(head, gains)
        if math.isinf(tau) or costs.sum() > limit:
            return costs, gains
        # All items together may stay within the budget: then tau must end at infinity, soon.
        tau *= growth
        growth *= growth


def cheapest_items(
    lower: Tensor, mask: Tensor, measure: Callable[[Tensor], Tensor], count: int
) -> np.ndarray:
    """Squared costs of the cheapest items, measuring few others.

    An item whose lower bound exceeds a distance tau costs more than tau, so the measured items up
    to tau are a complete head, long enough once it holds ``count`` items. tau starts from a sample
    and grows until then; the result never depends on the sample.

    Args:
        lower: ``(N,)`` lower bounds of the costs (distances, not squared).
        mask: ``(N,)`` which of them are items.
        measure: From pixel numbers ``(n,)`` to their exact costs ``(n,)``, float64.
        count: How many are wanted, at least 1.

    Returns:
        ``(count,)`` squared costs, ascending; fewer when there are fewer items of finite cost.
    """
    tau = math.inf
    if lower.numel() > _DIRECT:
        stride = lower.numel() // _DIRECT
        sample = lower[::stride][mask[::stride]].double()
        # A few more than wanted: short of the count, everything is looked at again.
        wanted = count / stride
        place = math.ceil(wanted + 4 * math.sqrt(wanted) + 4)
        if place < len(sample):
            tau = 1.2 * sample.kthvalue(place).values.item()
    growth = 2.0
    while True:
        candidates = mask if math.isinf(tau) else (lower <= tau * _ROUNDING + _SUBNORMAL) & mask
        costs = measure(_numbers(candidates)).cpu().numpy()
        head = np.compress(np.isfinite(costs) & (costs <= tau), costs)
        if math.isinf(tau) or len(head) >= count:
            return np.square(np.sort(head)[:count])
        # Too many costs may be infinite: then tau must end at infinity, soon.
        tau = growth * tau if tau > 0 else math.inf
        growth *= growth
