"""One rule per operation: how the energy weight of a result passes to its sources.

No rule, no certificate.
"""

from mmseg_lipcert.lipschitz.rules import (
    arithmetic,
    elementwise,
    linear,
    pooling,
    selection,
)
from mmseg_lipcert.lipschitz.rules.call import Call
from mmseg_lipcert.lipschitz.rules.registry import RULES, ResultWeight, Rule

__all__ = [
    "RULES",
    "Call",
    "ResultWeight",
    "Rule",
    "arithmetic",
    "elementwise",
    "linear",
    "pooling",
    "selection",
]
