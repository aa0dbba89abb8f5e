"""The graph of operations that a model really runs."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.utils import _pytree as pytree

from .errors import AuditError, UnboundedOperationError

# Other names under which PyTorch dispatches the same operation, with the same arguments.
_ALIASES = {
    "absolute": "abs",
    "clip": "clamp",
    "concat": "cat",
    "concatenate": "cat",
    "divide": "div",
    "moveaxis": "movedim",
    "multiply": "mul",
    "negative": "neg",
    "subtract": "sub",
    "swapaxes": "transpose",
    "swapdims": "transpose",
    "true_divide": "div",
}


class TracedGraph:
    """Functional ATen graph of a model at one input shape, with its constants evaluated.

    Every node that depends only on parameters, buffers and constants is evaluated once; the
    others are `live`: they depend on the input. Parametrised weights are thereby plain constants.

    Args:
        model: Model in evaluation mode.
        example: Input of the shape that is audited.

    Raises:
        AuditError: If the model cannot be traced, or changes its weights when it runs.
        UnboundedOperationError: If the model draws random numbers.
    """

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        try:
            with warnings.catch_warnings():
                # PyTorch's own deprecations while it traces.
                warnings.simplefilter("ignore", FutureWarning)
                program = torch.export.export(model, (example,), strict=False)
                program = program.run_decompositions({})
        except Exception as error:
            raise AuditError(
                "torch.export could not trace the model in evaluation mode. Parametrisations that "
                "update their buffers at every forward pass (power iteration) must be folded into "
                "plain layers first, see torch.nn.utils.parametrize.remove_parametrizations. "
                f"Cause: {error}"
            ) from error
        signature = program.graph_signature
        # Older versions of PyTorch know no parameters that change.
        changing = {
            *signature.buffers_to_mutate.values(),
            *getattr(signature, "parameters_to_mutate", {}).values(),
        }
        if changing:
            names = ", ".join(sorted(changing))
            raise AuditError(
                f"the buffers or parameters {names} change when the model runs in evaluation mode, "
                "so that it is not one fixed map; fold their layers into plain ones first"
            )
        self.nodes: list[Node] = list(program.graph.nodes)
        self.constants: dict[Node, Any] = {}
        self.live: set[Node] = set()
        #: All outputs that depend on the input.
        self.outputs: list[Node] = []
        targets = {spec.arg.name: spec.target for spec in signature.input_specs}
        user_inputs = set(signature.user_inputs)
        state = {**program.constants, **program.state_dict}
        seen: dict[str, Node] = {}
        for node in self.nodes:
            if node.op == "placeholder":
                if node.name in user_inputs:
                    self.input = node
                    self.live.add(node)
                else:
                    value = state[targets[node.name]]
                    self.constants[node] = value.detach() if isinstance(value, Tensor) else value
            elif node.op == "output":
                returned = pytree.tree_leaves(node.args)
                self.outputs = [leaf for leaf in returned if leaf in self.live]
            elif any(source in self.live for source in node.all_input_nodes):
                _require_deterministic(node)
                # Equal operations on equal sources are one: two slices of the same part, the two
                # halves of a MaxMin. Names of nodes are unique, the text is a faithful key.
                first = seen.setdefault(f"{node.target} {node.args} {node.kwargs}", node)
                if first is node:
                    self.live.add(node)
                else:
                    node.replace_all_uses_with(first)
            else:
                self.constants[node] = self._evaluate(node)

    def _evaluate(self, node: Node) -> Any:
        if node.op != "call_function":
            raise AuditError(f"cannot evaluate the graph node {node.op} {node.target}")
        _require_deterministic(node)
        return node.target(*self.resolve(node.args), **self.resolve(node.kwargs))

    def run(self, image: Tensor, outputs: Sequence[Node]) -> list[Tensor]:
        """Run the graph itself up to some of its nodes and return their values."""
        values: dict[Node, Any] = {**self.constants, self.input: image}
        last = {source: node for node in self.nodes for source in node.all_input_nodes}
        spent: dict[Node, list[Node]] = {}
        for source, node in last.items():
            if source not in outputs:
                spent.setdefault(node, []).append(source)
        for node in self.nodes:
            if node in self.live and node is not self.input:
                args, kwargs = pytree.tree_map(
                    lambda leaf: values[leaf] if isinstance(leaf, Node) else leaf,
                    (node.args, node.kwargs),
                )
                values[node] = node.target(*args, **kwargs)
            for source in spent.get(node, ()):  # Feature maps of large images are large.
                values.pop(source, None)
        return [values[node] for node in outputs]

    def resolve(self, arguments: Any) -> Any:
        """Replace the constant nodes in a nest of arguments by their values."""

        def value(leaf: Any) -> Any:
            return self.constants.get(leaf, leaf) if isinstance(leaf, Node) else leaf

        return pytree.tree_map(value, arguments)


def _require_deterministic(node: Node) -> None:
    # Dropout keeps its tag in evaluation mode, where its rule knows it as the identity.
    if torch.Tag.nondeterministic_seeded in getattr(
        node.target, "tags", ()
    ) and "dropout" not in operation_name(node):
        raise UnboundedOperationError(
            operation_name(node), module_path(node), "draws random numbers at every call"
        )


def operation_name(node: Node) -> str:
    """Return the canonical name of a node's operation, without overload: 'aten::conv2d'."""
    if node.target is operator.getitem:
        return "getitem"
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return str(node.target)
    namespace, _, name = schema.name.partition("::")
    return f"{namespace}::{_ALIASES.get(name, name)}"


def module_path(node: Node) -> str:
    """Return the path of the innermost module that runs a node, '' for the model itself."""
    stack = node.meta.get("nn_module_stack") or {}
    return list(stack.values())[-1][0] if stack else ""
