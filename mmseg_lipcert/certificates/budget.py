"""The attacker's budget, in squared logit (or feature) distance, and exact-enough prefix sums."""

import math

import numpy as np

# Budgets are enlarged and radii are shrunk by this share, so that an exact tie, and any rounding
# of the sums, goes to the attacker. It exceeds the rounding of `prefix_sums` up to 90 million
# terms (relative error at most (1024 + n / 1024) * 1.1e-16) and is far below any other error.
BUDGET_GUARD = 1e-11

_BLOCK = 1024


def squared_budget(eps: float, lipschitz: float) -> float:
    """Squared distance that a perturbation of norm ``eps`` can move all logits together.

    Args:
        eps: Norm of the perturbation, in [0, 1] pixel units.
        lipschitz: Joint Lipschitz bound from the image to the logits.

    Returns:
        ``(lipschitz * eps)**2``, or -1 for ``eps = 0``: no perturbation moves nothing, not even
        a pixel whose top two logits are tied.
    """
    reach = lipschitz * eps
    return reach * reach * (1 + BUDGET_GUARD) if eps > 0 else -1.0


def radius_of(budget: float, lipschitz: float) -> float:
    """Largest ``eps`` below which ``squared_budget`` stays under ``budget``."""
    return math.sqrt(budget / (1 + BUDGET_GUARD)) / lipschitz


def prefix_sums(values: np.ndarray) -> np.ndarray:
    """Prefix sums in float64 with a leading zero, blocked to keep the rounding error small.

    Args:
        values: ``(n,)``.

    Returns:
        ``(n + 1,)``: the sums of the first 0, 1, ..., n values.
    """
    blocks = max(1, math.ceil(len(values) / _BLOCK))
    sums = np.zeros(1 + blocks * _BLOCK)
    sums[1 : 1 + len(values)] = values
    blocked = sums[1:].reshape(blocks, _BLOCK)
    np.cumsum(blocked, axis=1, out=blocked)
    blocked[1:] += np.cumsum(blocked[:-1, -1])[:, None]
    return sums[: 1 + len(values)]
