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

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .composition import Composition
from .errors import AuditError
from .lipschitz_audit import LipschitzAudit
from .lower_bound import measured_lower_bound
from .model_state import changed_names, model_state
from .traced_graph import TracedGraph

# Relative difference between the model and its graph that rounding explains.
_AGREEMENT = 1e-4

# Slack for the rounding of the measurement; a larger excess is a wrong rule.
_SLACK = {torch.float64: 1 + 1e-6, torch.float32: 1 + 1e-4}


def audit(
    model: nn.Module,
    input_shape: Sequence[int],
    samples: Tensor | None = None,
    steps: int = 15,
) -> LipschitzAudit:
    """Bound the joint l2 Lipschitz constant of a model from above, and measure it from below.

    The bound is that of the map from the input tensor to all output tensors together, in the
    model's own evaluation mode, in exact arithmetic, at the given input shape. The model is not
    changed.

    Args:
        model: Model in evaluation mode whose forward takes one tensor.
        input_shape: Shape of that tensor, batch dimension included, for example (1, 3, 360, 480).
        samples: Inputs (M, *input_shape[1:]) at which the traced graph is compared with the model
            and the lower bound is measured, in the model's own precision; none is measured
            without them. Defaults to None.
        steps: Effort of the measurement, see :func:`measured_lower_bound`. Defaults to 15.

    Returns:
        The upper and lower bounds with one record per operation.

    Raises:
        AuditError: If a module is in training mode, the model cannot be traced, its traced graph
            computes something else, the bound overflows, or the measured lower bound exceeds
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
    reference = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    # Inside of torch.inference_mode() the weights of the recursion would have no gradients.
    with torch.inference_mode(False), torch.no_grad():
        example = torch.rand(shape, dtype=reference.dtype, device=reference.device)
        graph = TracedGraph(model, example)
        upper, layers = Composition(graph).bound()
        _require_same_map(model, graph, example)
        # What the first run stored (a grid of positions, say) may stay; a model that changes at
        # every run is not one map.
        before = model_state(model)
        _require_same_map(model, graph, torch.randn_like(example))
        if changed := changed_names(before, model_state(model)):
            raise AuditError(
                f"{', '.join(changed[:5])} change when the model runs in evaluation mode, so that "
                "it is not one fixed map"
            )
    lower = None
    if samples is not None:
        with torch.inference_mode(False), torch.enable_grad():
            samples = samples.detach().clone().to(reference.device, reference.dtype)
            lower = measured_lower_bound(model, samples, steps)
        if lower > upper * _SLACK[reference.dtype]:
            raise AuditError(
                f"the measured lower bound {lower:.9g} exceeds the upper bound {upper:.9g}: "
                "a rule of the audit is wrong for this model, there is no certificate"
            )
    return LipschitzAudit(upper, lower, shape, layers)


def _require_same_map(model: nn.Module, graph: TracedGraph, image: Tensor) -> None:
    """Compare the traced graph with the model itself, up to the rounding of the model's dtype."""
    with torch.no_grad():
        outputs = [leaf for leaf in pytree.tree_leaves(model(image)) if isinstance(leaf, Tensor)]
        traced = torch.cat([value.flatten().double() for value in graph.run(image)])
        direct = torch.cat([value.flatten().double() for value in outputs])
    if direct.shape != traced.shape:
        raise AuditError(
            f"the model returns {direct.numel()} values and its traced graph {traced.numel()}: "
            "an output does not depend on the input, or the control flow is not fixed"
        )
    difference = float(torch.linalg.vector_norm(direct - traced))
    if not difference <= _AGREEMENT * max(float(torch.linalg.vector_norm(direct)), 1e-6):
        raise AuditError(
            f"the traced graph differs from the model by {difference:.3g}: "
            "the control flow is not fixed, the model is not one map"
        )
