"""One rule per operation: how the energy weight of a result passes to its sources.

No rule, no certificate.
"""

from . import arithmetic, elementwise, linear, pooling, selection  # noqa: F401
from .call import RULES, Call, ResultWeight, Rule, rule

__all__ = ["RULES", "Call", "ResultWeight", "Rule", "rule"]
