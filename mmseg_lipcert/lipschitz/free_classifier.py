"""The free classifier at the end of a traced graph."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import Node

from .errors import AuditError
from .rules.call import Call, pair
from .traced_graph import TracedGraph


def free_classifier(graph: TracedGraph) -> tuple[Node, Tensor]:
    """Find the features and the weight of the classifier that gives the logits.

    Flip costs are computed from the features' bound and the classifier's rows, so that differences
    of logits must be differences of these rows times the features, pixel by pixel. Behind the
    classifier only two operations leave that true: cutting pixels off, and adding constants.

    Args:
        graph: Traced map from images to logits (N, K, H, W).

    Returns:
        The features' node, and the weight (K, C).

    Raises:
        AuditError: If the logits are anything else than the result of a plain 1x1 convolution.
    """
    if len(graph.outputs) != 1:
        raise AuditError(
            f"a free classifier needs one output, the logits; {len(graph.outputs)} depend on the "
            "input"
        )
    node = graph.outputs[0]
    while True:
        call = Call(graph, node, {}, {}) if hasattr(node.target, "_schema") else None
        before = None if call is None else _harmless(call)
        if before is None:
            break
        node = before
    if call is None or not _is_plain_classifier(call):
        name = "the input itself" if call is None else f"{call.operation} in '{call.path}'"
        raise AuditError(
            "with free_classifier=True the logits must be the result of a 1x1 convolution of "
            "stride 1 without padding or groups, and nothing but a crop or constants may follow "
            f"it; they end in {name}"
        )
    return call["input"], call["weight"].flatten(1)


def _harmless(call: Call) -> Node | None:
    """Return the operand of a crop or of a shift by constants, None for other operations."""
    if call.operation == "aten::alias":
        return call["self"]
    if call.operation == "aten::slice" and call.live() == [call["self"]]:
        whole = call.shape() == call.shape(call["self"])
        return call["self"] if whole or call["dim"] % len(call.shape()) > 1 else None
    if call.operation in ("aten::add", "aten::sub") and call.live() == [call["self"]]:
        return call["self"] if call.shape() == call.shape(call["self"]) else None
    if call.operation == "aten::add" and call.live() == [call["other"]] and call["alpha"] == 1:
        return call["other"] if call.shape() == call.shape(call["other"]) else None
    return None


def _is_plain_classifier(call: Call) -> bool:
    return (
        call.operation == "aten::conv2d"
        and call.live() == [call["input"]]
        and isinstance(call["weight"], torch.Tensor)
        and tuple(call["weight"].shape[2:]) == (1, 1)
        and pair(call["stride"]) == (1, 1)
        and call["padding"] in ("valid", [0], [0, 0], 0)
        and call["groups"] == 1
        and len(call.shape()) == 4
    )
