"""Backward energy recursion over a traced graph."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from .energy import CEILING, FLOOR, compress, largest, total, uniform
from .errors import UnboundedOperationError
from .lipschitz_audit import LayerRecord
from .rules import RULES, Call
from .traced_graph import TracedGraph, module_path, operation_name

# Relative margin for the rounding of the recursion's float64 arithmetic.
_ROUNDING = 1 + 1e-10

# Precisions that are certified.
_FINE = (torch.float32, torch.float64)

# Exponents of the smooth maximum under which the thetas are balanced, one sweep for each.
_POWERS = (1, 1, 2, 4, 16, 64, 512, 512)


class Composition:
    """Composes the bounds of all operations into one of the whole graph.

    With nonnegative weights W(v), one per element of node v, such that
    `||dout||^2 <= sum_v sum_i W(v)_i dv_i^2` over the nodes of a cut, and W = 1 at the outputs,
    every operation's rule replaces the weight of its result by weights of its sources, from the
    output back to the input; weights of a tensor that is used several times add. Then
    `L^2 = max_i W(input)_i`.

    A sum of two live tensors splits its weight with a free theta in (0, 1); every theta is sound.
    They are chosen to make L^2 small: at a minimum of the smooth maximum `(sum_i W_i^p)^(1/p)`,
    theta : 1 - theta is the ratio e : e' of the shares of L^2 that pass through the two operands
    (its elasticities, found by differentiation). As a share falls with theta^-p at most, the step
    `theta ~ (theta^p e)^(1 / (p + 1))` does not overshoot. A few sweeps with growing p are made,
    and the best thetas are kept.

    Raising a weight is always sound. Weights are kept at or above 1e-100, so that one that
    underflows to zero, like that behind a factor of 1e-170, does not prove that an element is
    without effect; as they must stay below 1e200, a square that underflows (below 1e-308) stands
    for less than that.

    Args:
        graph: The traced model.
        outputs: Its nodes that are bounded jointly.

    Raises:
        UnboundedOperationError: If a value on the way has less than single precision.
    """

    def __init__(self, graph: TracedGraph, outputs: Sequence[Node]) -> None:
        for node in graph.nodes:
            if node in graph.live:
                _require_full_precision(node)
        self._graph = graph
        self._outputs = outputs
        self._cache: dict[Any, Any] = {}
        self._records: list[LayerRecord] = []
        self._partners = _max_min_pairs(graph)
        half = torch.tensor(0.5, dtype=torch.float64)
        sums = ("aten::add", "aten::sub", "aten::rsub")
        self._thetas: dict[Node, tuple[Tensor, ...]] = {
            node: (half, half)
            for node in graph.nodes
            if operation_name(node) in sums and _all_live(graph, node.args[:2])
        }

    def bound(self) -> tuple[float, tuple[LayerRecord, ...]]:
        """Return the bound of the graph and the records of its operations.

        Raises:
            UnboundedOperationError: If an operation has no rule.
        """
        self._choose_thetas()
        for key in [key for key in self._cache if key[1] == "gain"]:
            del self._cache[key]
        squared = largest(self._sweep())
        total = sum(abs(_log(record.bound)) for record in self._records)
        records = tuple(
            LayerRecord(
                record.name,
                record.operation,
                record.shape,
                record.bound,
                record.method,
                _log(record.bound) / total if total > 0 else 0.0,
            )
            for record in reversed(self._records)
        )
        return math.sqrt(squared) * _ROUNDING, records

    def _choose_thetas(self) -> None:
        best, best_thetas = math.inf, self._thetas
        for power in _POWERS if self._thetas else ():
            leaves = {
                node: tuple(part.detach().requires_grad_() for part in parts)
                for node, parts in self._thetas.items()
            }
            self._thetas = leaves
            with torch.enable_grad():
                weight = self._sweep()
                squared = largest(weight)
                if not 0 < squared < math.inf or not weight.requires_grad:
                    break
                smooth = (weight.clamp_min(1e-300).log() * power).logsumexp(
                    tuple(range(weight.dim()))
                ) / power
            if squared < best:
                best, best_thetas = squared, leaves
            flat = [part for parts in leaves.values() for part in parts]
            gradients = iter(torch.autograd.grad(smooth, flat, allow_unused=True))
            self._thetas = {
                node: _balanced([(part, next(gradients)) for part in parts], power)
                for node, parts in leaves.items()
            }
        self._thetas = {
            node: tuple(part.detach() for part in parts) for node, parts in best_thetas.items()
        }

    def _sweep(self) -> Tensor:
        """Pass the weights from the outputs to the input and return those of the input."""
        graph = self._graph
        self._records = []
        weights: dict[Node, Any] = {}
        for node in self._outputs:
            _accumulate(weights, node, uniform(1.0, node.meta["val"].dim()))
        for node in reversed(graph.nodes):
            if node not in weights or node is graph.input:
                continue
            weight = weights.pop(node)
            first = self._partners.get(node)
            if first is not None:
                # The partner comes earlier in the graph and carries the joint weight.
                own = weights.get(first)
                weights[first] = weight if own is None else torch.maximum(own, weight)
                continue
            _require_continuous(node)
            if node.target is operator.getitem:
                _accumulate(weights.setdefault(node.args[0], {}), node.args[1], weight)
                continue
            rule = RULES.get(operation_name(node))
            if rule is None:
                raise UnboundedOperationError(
                    operation_name(node), module_path(node), "no rule bounds this operation"
                )
            call = Call(graph, node, self._thetas, self._cache)
            try:
                shares = rule(call, weight)
            except UnboundedOperationError:
                raise
            # A rule that was not made for these arguments proves nothing, whatever it stumbles on.
            except Exception as error:
                raise call.unbounded(f"{type(error).__name__}: {error}") from error
            for source, share in shares:
                _accumulate(weights, source, _within_range(call, share))
            self._records.extend(call.records)
        if graph.input not in weights:
            return torch.zeros((), dtype=torch.float64)
        return weights[graph.input]


def _accumulate(weights: dict[Any, Any], key: Any, share: Tensor) -> None:
    weights[key] = total(weights[key], share) if key in weights else share


def _within_range(call: Call, share: Tensor) -> Tensor:
    """Return weights that float64 arithmetic can go on with."""
    share = compress(share)
    if not largest(share) <= CEILING:
        raise call.unbounded(
            f"the squared bound from here to the output is {largest(share):.3g}: the weights must "
            f"be finite, and it must not exceed {CEILING:g}"
        )
    return share.clamp_min(FLOOR) if float(share.detach().min()) < FLOOR else share


def _balanced(parts: list[tuple[Tensor, Tensor | None]], power: int) -> tuple[Tensor, Tensor]:
    """Step to the balance of two operands, given (theta, derivative of log L^2) of both."""
    logs = []
    for part, slope in parts:
        value = float(part.detach())
        elasticity = 0.0 if slope is None else -float(slope) * value
        logs.append((power * math.log(value) + math.log(max(elasticity, 1e-300))) / (power + 1))
    value = 1 / (1 + math.exp(min(logs[1] - logs[0], 500.0)))
    theta = torch.tensor(min(max(value, 1e-6), 1 - 1e-6), dtype=torch.float64)
    return theta, 1 - theta


def _all_live(graph: TracedGraph, arguments: Sequence[Any]) -> bool:
    return all(isinstance(part, Node) and part in graph.live for part in arguments)


def _max_min_pairs(graph: TracedGraph) -> dict[Node, Node]:
    """Map the later of max(a, b) and min(a, b) to the earlier one."""
    pairs: dict[Node, Node] = {}
    found: dict[tuple[str, frozenset[Node]], Node] = {}
    kinds = {"aten::maximum": "max", "aten::max": "max", "aten::minimum": "min", "aten::min": "min"}
    for node in graph.nodes:
        kind = kinds.get(operation_name(node)) if node in graph.live else None
        # Two live tensors; the other overloads take one tensor and a dimension.
        if kind is None or len(node.args) != 2 or not _all_live(graph, node.args):
            continue
        operands = frozenset(node.args)
        earlier = found.pop(("min" if kind == "max" else "max", operands), None)
        if earlier is None:
            found[kind, operands] = node
        else:
            pairs[node] = earlier
    return pairs


def _require_full_precision(node: Node) -> None:
    """Refuse half precision wherever it occurs: rules of several operations see only their ends."""
    results = node.meta.get("val")  # assertions have none
    for value in results if isinstance(results, list | tuple) else [results]:
        dtype = value.dtype if isinstance(value, Tensor) else torch.float64
        if dtype not in _FINE and (dtype.is_floating_point or dtype.is_complex):
            raise UnboundedOperationError(
                operation_name(node),
                module_path(node),
                f"its result is {dtype}: only float32 and float64 are fine enough to be certified",
            )


def _require_continuous(node: Node) -> None:
    """Refuse to follow a result that is a number, an integer or a truth value."""
    value = node.meta["val"]
    if not isinstance(value, list | tuple | Tensor):
        raise UnboundedOperationError(
            operation_name(node), module_path(node), "a number that depends on the image"
        )
    # Of several results, those that are used come by as nodes of their own.
    if isinstance(value, Tensor) and value.dtype not in _FINE:
        origin = node.args[0] if node.target is operator.getitem else node
        raise UnboundedOperationError(
            operation_name(origin),
            module_path(origin),
            f"its result is {value.dtype}, which no certificate can follow",
        )


def _log(bound: float) -> float:
    return math.log(bound) if bound > 0 else 0.0
