"""One operation of the traced graph as its rule sees it, and the table of the rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.utils import _pytree as pytree

from ..errors import UnboundedOperationError
from ..lipschitz_audit import LayerRecord
from ..traced_graph import TracedGraph, module_path, operation_name


class Call:
    """Arguments of an operation by name, and what the composition shares between rules.

    Args:
        graph: Graph that the operation belongs to.
        node: The operation.
        thetas: (theta, 1 - theta) of each sum of two live tensors, as float64 scalars.
        cache: Results that stay valid between passes over the graph.
    """

    def __init__(
        self,
        graph: TracedGraph,
        node: Node,
        thetas: dict[Node, tuple[Tensor, ...]],
        cache: dict[Any, Any],
    ) -> None:
        self.graph = graph
        self.node = node
        self.thetas = thetas
        self.cache = cache
        self.records: list[LayerRecord] = []
        self.arguments: dict[str, Any] = {}
        schema = node.target._schema.arguments
        for position, argument in enumerate(schema):
            if position < len(node.args):
                value = node.args[position]
            else:
                value = node.kwargs.get(argument.name, argument.default_value)
            self.arguments[argument.name] = graph.resolve(value)

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    @property
    def operation(self) -> str:
        """Name of the operation without its overload."""
        return operation_name(self.node)

    @property
    def path(self) -> str:
        """Path of the module that runs the operation."""
        return module_path(self.node)

    def is_live(self, value: Any) -> bool:
        """Tell whether an argument depends on the input."""
        return isinstance(value, Node) and value in self.graph.live

    def live(self) -> list[Node]:
        """Return the arguments that depend on the input, in order, with repetitions."""
        return [leaf for leaf in pytree.tree_leaves(self.arguments) if self.is_live(leaf)]

    def source(self, name: str) -> Node:
        """Return the one argument that may depend on the input."""
        if not self.is_live(self[name]) or len(self.live()) != 1:
            raise self.unbounded(
                f"only the argument '{name}' may depend on the input (a product or selection by "
                "other data-dependent tensors is not Lipschitz)"
            )
        return self[name]

    def shape(self, node: Node | None = None) -> tuple[int, ...]:
        """Return the shape of a node's value, or of this operation's (first) result."""
        value = (self.node if node is None else node).meta["val"]
        if isinstance(value, list | tuple):
            value = value[0]
        if not isinstance(value, Tensor):
            raise self.unbounded("one of its operands is a number that depends on the image")
        return tuple(int(size) for size in value.shape)

    def producer(self, value: Any) -> Call | None:
        """Return the operation that computes a live argument, None for the input itself."""
        if not self.is_live(value) or not hasattr(value.target, "_schema"):
            return None
        return Call(self.graph, value, self.thetas, self.cache)

    def record(self, bound: float, method: str) -> None:
        """Add a line to the audit's table."""
        self.records.append(
            LayerRecord(self.path, self.operation, self.shape(), float(bound), method)
        )

    def unbounded(self, reason: str) -> UnboundedOperationError:
        """Return the error that names this operation."""
        return UnboundedOperationError(self.operation, self.path, reason)


def constant(value: Any) -> Tensor:
    """Return a constant argument (tensor or number) as a float64 tensor on the CPU."""
    if not isinstance(value, Tensor):
        return torch.tensor(value, dtype=torch.float64)
    return value.detach().clone().to("cpu", torch.float64)


def pair(value: int | list[int]) -> tuple[int, int]:
    """Return the values for rows and columns of an argument that may be one number."""
    sizes = [value] if isinstance(value, int) else list(value)
    return (sizes[0], sizes[-1])


# Weight of the result, or of each used result by index, for operations with several results.
ResultWeight = Tensor | dict[int, Tensor]


def without_indices(call: Call, weight: ResultWeight) -> Tensor:
    """Return the weight of the first result, the values; the second, indices, must be unused."""
    if not isinstance(weight, dict):
        return weight
    if 1 in weight:
        raise call.unbounded("the indices of an extremum are not continuous")
    return weight[0]


# A rule returns what it adds to the weights of the operation's sources (or of tensors further
# upstream, where it bounds several operations jointly).
Rule = Callable[[Call, Any], list[tuple[Node, Tensor]]]

RULES: dict[str, Rule] = {}


def rule(*operations: str) -> Callable[[Rule], Rule]:
    """Register a rule for ATen operations, named without namespace and overload."""

    def register(function: Rule) -> Rule:
        for operation in operations:
            RULES[f"aten::{operation}"] = function
        return function

    return register
