"""The audit: an upper bound computed from the weights and the graph that runs, or an error.

The model is traced with `torch.export` (not `torch.fx.symbolic_trace`): the graph consists of the
ATen operations that really run at this input shape, whatever Python control flow, hooks or
parametrisations led to them, and in-place operations and views come out functional. Symbolic
tracing sees Python calls instead, needs registered leaf modules whose class is then trusted,
and fails on shape-dependent code, which segmentors are full of. The graph is taken before
composite operations are decomposed, so that a circular padding or a bilinear interpolation
is still one node with one rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.utils import _pytree as pytree

from .composition import Composition
from .errors import AuditError
from .free_classifier import free_classifier as find_classifier
from .lipschitz_audit import LipschitzAudit
from .lower_bound import measured_lower_bound
from .model_state import changed_names, model_state
from .traced_graph import TracedGraph

# Relative difference between the model and its graph that rounding explains, and between two runs
# of the model itself.
_AGREEMENT = 1e-4
_REPEATED = 1e-6

# Slack for the rounding of the measurement; a larger excess is a wrong rule.
_SLACK = {torch.float64: 1 + 1e-6, torch.float32: 1 + 1e-4}


def audit(
    model: nn.Module,
    input_shape: Sequence[int],
    samples: Tensor | None = None,
    steps: int = 15,
    free_classifier: bool = False,
) -> LipschitzAudit:
    """Bound the joint l2 Lipschitz constant of a model from above, and measure it from below.

    The bound is that of the map from the input tensor to all output tensors together, in the
    model's own evaluation mode, in exact arithmetic, at the given input shape. The model is not
    changed.

    The traced graph is compared with the model at random, constant, alternating and very large
    inputs and at the samples; at the end the model is run again at the first and the last of them.

    Args:
        model: Model in evaluation mode whose forward takes one tensor.
        input_shape: Shape of that tensor, batch dimension included, for example (1, 3, 360, 480).
        samples: Inputs (M, *input_shape[1:]) at which the lower bound is measured, in the model's
            own precision; none is measured without them. Defaults to None.
        steps: Effort of the measurement, see :func:`measured_lower_bound`. Defaults to 15.
        free_classifier: Bound the features in front of the 1x1 convolution that the model must
            end in, and return its weight in the result. Defaults to False.

    Returns:
        The upper and lower bounds with one record per operation.

    Raises:
        AuditError: If a module is in training mode, the model cannot be traced or run, its traced
            graph computes something else, its answers change, or the measured lower bound exceeds
            the upper bound (a wrong rule).
        UnboundedOperationError: If an operation has no rule.
        ValueError: If the shape of the samples does not match, or a weight is not finite.
    """
    shape = tuple(int(size) for size in input_shape)
    training = [name or "(model)" for name, module in model.named_modules() if module.training]
    if training:
        raise AuditError(
            f"{len(training)} modules are in training mode, the first is '{training[0]}'; "
            "call model.eval(), the audited map must be the map that runs"
        )
    if samples is not None and tuple(samples.shape[1:]) != shape[1:]:
        raise ValueError(
            f"samples must have shape (M, {', '.join(map(str, shape[1:]))}), "
            f"got {tuple(samples.shape)}"
        )
    if free_classifier and samples is not None and shape[0] != 1:
        raise ValueError(f"features are measured one by one: the batch must be 1, got {shape[0]}")
    reference = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    # Inside of torch.inference_mode() the weights of the recursion would have no gradients.
    with torch.inference_mode(False), torch.no_grad():
        if samples is not None:
            samples = samples.detach().clone().to(reference.device, reference.dtype)
        example = torch.rand(shape, dtype=reference.dtype, device=reference.device)
        graph = TracedGraph(model, example)
        outputs, classifier = graph.outputs, None
        if free_classifier:
            features, classifier = find_classifier(graph)
            outputs = [features]
        upper, layers = Composition(graph, outputs).bound()
        probes = [example, *_probes(example)]
        if samples is not None and shape[0] == 1:
            probes.extend(samples.split(1))
        first = _require_same_map(model, graph, example)
        # What the first run stored (a grid of positions, say) may stay; a model that changes at
        # every run is not one map.
        before = model_state(model)
        for probe in probes[1:]:
            last = _require_same_map(model, graph, probe)
        _require_same_state(model, before)
    lower = None
    if samples is not None:
        measured = model if classifier is None else partial(_features, graph, outputs)
        with torch.inference_mode(False), torch.enable_grad():
            lower = measured_lower_bound(measured, samples, steps)
        if lower > upper * _SLACK[reference.dtype]:
            raise AuditError(
                f"the measured lower bound {lower:.9g} exceeds the upper bound {upper:.9g}: "
                "a rule of the audit is wrong for this model, there is no certificate"
            )
    _require_same_state(model, before)
    require_unchanged(model, probes[0], first)
    require_unchanged(model, probes[-1], last)
    return LipschitzAudit(upper, lower, shape, layers, classifier)


def require_unchanged(model: nn.Module, image: Tensor, answer: Tensor) -> None:
    """Run a model again at an input and compare.

    Args:
        model: The model, in evaluation mode.
        image: The input.
        answer: All outputs of an earlier run at this input, flattened one after the other.

    Raises:
        AuditError: If the answer has changed by more than rounding: 1e-6 of its norm.
    """
    with torch.inference_mode(False), torch.no_grad():
        again = _answer(model, image)
    difference = _distance(again, answer)
    if not difference <= _REPEATED * float(torch.linalg.vector_norm(answer)):
        raise AuditError(
            f"the model's answer to the same input has changed by {difference:.3g} since it was "
            "audited: it is not one fixed map, and there is no certificate"
        )


def _require_same_state(model: nn.Module, before: dict[str, Any]) -> None:
    if changed := changed_names(before, model_state(model)):
        raise AuditError(
            f"{', '.join(changed[:5])} change when the model runs in evaluation mode, so that "
            "it is not one fixed map"
        )


def _probes(example: Tensor) -> list[Tensor]:
    """Inputs at which a switch would show: 0, 1, an alternating pattern, and very large ones."""
    parity = torch.zeros_like(example)
    for dim in range(1, example.dim()):
        steps = torch.arange(example.shape[dim], dtype=example.dtype, device=example.device)
        parity += steps.reshape(-1, *(1,) * (example.dim() - dim - 1))
    return [
        torch.zeros_like(example),
        torch.ones_like(example),
        parity % 2,
        1e3 * torch.randn_like(example),
    ]


def _features(graph: TracedGraph, outputs: Sequence[Node], image: Tensor) -> list[Tensor]:
    return graph.run(image, outputs)


def _answer(model: nn.Module, image: Tensor) -> Tensor:
    """All outputs of a model at an input, flattened one after the other."""
    try:
        leaves = pytree.tree_leaves(model(image))
    except Exception as error:
        raise AuditError(
            f"the model was traced but does not run: {type(error).__name__}: {error}"
        ) from error
    return torch.cat([leaf.flatten() for leaf in leaves if isinstance(leaf, Tensor)])


def _distance(first: Tensor, second: Tensor) -> float:
    if first.shape != second.shape:
        return math.inf
    return float(torch.linalg.vector_norm(first.double() - second.double()))


def _require_same_map(model: nn.Module, graph: TracedGraph, image: Tensor) -> Tensor:
    """Compare the graph with the model at an input, up to rounding, and return the answer."""
    direct = _answer(model, image)
    traced = torch.cat([value.flatten() for value in graph.run(image, graph.outputs)])
    if direct.shape != traced.shape:
        raise AuditError(
            f"the model returns {direct.numel()} values and its traced graph {traced.numel()}: "
            "an output does not depend on the input, or the control flow is not fixed"
        )
    difference = _distance(direct, traced)
    if not difference <= _AGREEMENT * max(float(torch.linalg.vector_norm(direct)), 1e-6):
        raise AuditError(
            f"the traced graph differs from the model by {difference:.3g}: "
            "the control flow is not fixed, the model is not one map"
        )
    return direct
