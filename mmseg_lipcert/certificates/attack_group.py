"""Interchangeable targets of one attack, cheapest per unit of gain first."""

import numpy as np

from .budget import BUDGET_GUARD, prefix_sums


class AttackGroup:
    """What an attacker can gain from a set of pixels, as a function of the budget.

    Taking item i costs ``costs[i]`` (squared distance) and gains ``profits[i]`` image pixels. With
    equal profits the cheapest items first are optimal, and the gain is exact. With different
    profits the 0/1 knapsack is relaxed to its fractional version (Dantzig 1957): items in the
    order of cost per profit, the last one in part, and nothing while not even the cheapest item is
    affordable. This is an upper bound of the attacker's gain, hence sound, and exceeds the exact
    one by less than one item.

    Args:
        costs: ``(n,)`` squared costs, finite.
        profits: ``(n,)`` positive gains, or one gain for all items.
        cheapest: Lower bound of the cost of every item, also of those left out of ``costs`` as
            beyond any budget in question. Defaults to the smallest of ``costs``.

    Attributes:
        uniform: Whether all items gain the same, so that gains are exact.
        unit: The gain of one item when ``uniform``.
        cheapest: Squared budget below which nothing can be gained; infinite without items.
        spent: ``(n + 1,)`` cost of the first 0, 1, ... items.
        gained: ``(n + 1,)`` gain of the first 0, 1, ... items.
    """

    def __init__(
        self, costs: np.ndarray, profits: np.ndarray | float, cheapest: float | None = None
    ) -> None:
        self.cheapest = float(costs.min(initial=np.inf)) if cheapest is None else cheapest
        self.uniform = np.ndim(profits) == 0
        if self.uniform:
            self.unit = float(profits)
            self.spent = prefix_sums(np.sort(costs))
            self.gained = _rounded_up(self.unit * np.arange(len(costs) + 1), profits)
        else:
            profits = np.asarray(profits)
            order = np.argsort(costs / profits, kind="stable")
            self.spent = prefix_sums(costs[order])
            self.gained = _rounded_up(prefix_sums(profits[order]), profits)

    def affordable(self, budget: float | np.ndarray) -> np.ndarray:
        """Number of whole items within a squared budget; none when it is negative."""
        return np.searchsorted(self.spent[1:], budget, side="right")

    def gain(self, budget: float | np.ndarray) -> np.ndarray:
        """Largest gain within a squared budget: exact when ``uniform``, else fractional."""
        if self.uniform:
            return self.gained[self.affordable(budget)]
        return np.where(budget >= self.cheapest, self.fractional_gain(budget), 0.0)

    def fractional_gain(self, budget: float | np.ndarray) -> np.ndarray:
        """Gain within a squared budget when the last item may be taken in part."""
        whole = self.affordable(budget)
        following = np.minimum(whole + 1, len(self.spent) - 1)
        step = self.spent[following] - self.spent[whole]
        rest = np.clip(budget - self.spent[whole], 0.0, step)
        part = np.divide(rest, step, out=np.zeros_like(step), where=step > 0)
        return self.gained[whole] + part * (self.gained[following] - self.gained[whole])

    def fractional_cost(self, gain: float | np.ndarray) -> np.ndarray:
        """Squared budget at which ``fractional_gain`` reaches a gain; infinite if it never does."""
        return np.interp(gain, self.gained, self.spent, right=np.inf)


def _rounded_up(gained: np.ndarray, profits: np.ndarray | float) -> np.ndarray:
    """Sums of whole numbers are exact; those of fractions are rounded for the attacker."""
    return gained if np.all(profits == np.rint(profits)) else gained * (1 + BUDGET_GUARD)


# Nothing to attack.
EMPTY_GROUP = AttackGroup(np.zeros(0), 1.0)
