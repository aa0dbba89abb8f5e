"""The table from operations to rules."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.fx import Node

from mmseg_lipcert.lipschitz.rules.call import Call

# Weight of the result, or of each used result by index, for operations with several results.
ResultWeight = Tensor | dict[int, Tensor]

# A rule returns what it adds to the weights of the operation's sources (or of tensors further
# upstream, where it bounds several operations jointly).
Rule = Callable[[Call, ResultWeight], list[tuple[Node, Tensor]]]

RULES: dict[str, Rule] = {}


def rule(*operations: str) -> Callable[[Rule], Rule]:
    """Register a rule for ATen operations, named without namespace and overload."""

    def register(function: Rule) -> Rule:
        for operation in operations:
            RULES[f"aten::{operation}"] = function
        return function

    return register
