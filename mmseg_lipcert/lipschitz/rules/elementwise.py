"""Rules of functions applied element by element, and of order statistics."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.fx import Node

from ..energy import maximum_over, reduce_to
from .call import Call, ResultWeight, constant, rule, without_indices

# Largest slope of each activation; discontinuous ones (hardshrink, threshold) have none.
SLOPES = {
    "relu": 1.0,
    "relu6": 1.0,
    "hardtanh": 1.0,
    "clamp": 1.0,
    "clamp_min": 1.0,
    "clamp_max": 1.0,
    "abs": 1.0,
    "neg": 1.0,
    "sin": 1.0,
    "cos": 1.0,
    "tanh": 1.0,
    "atan": 1.0,
    "log_sigmoid": 1.0,
    "softshrink": 1.0,
    "sigmoid": 0.25,
    "hardsigmoid": 1 / 6,
    "hardswish": 1.5,
    "erf": 2 / math.sqrt(math.pi),
    # The maximum of the derivative, at x = sqrt(2): Phi(sqrt 2) + sqrt(2) phi(sqrt 2) = 1.12890;
    # the tanh approximation reaches 1.12900.
    "gelu": 1.13,
    # The derivative's maximum is 1.09984 (silu) and 1.08850 (mish).
    "silu": 1.1,
    "mish": 1.09,
}


def activation_slopes(call: Call) -> tuple[float, float] | None:
    """Return the range of the slopes of an activation that is monotone, None for others.

    Only the activations whose slopes are known to lie in a range are listed.
    """
    if call.operation in ("aten::relu", "aten::relu6", "aten::hardtanh", "aten::tanh"):
        return 0.0, 1.0
    if call.operation == "aten::sigmoid":
        return 0.0, 0.25
    if call.operation == "aten::leaky_relu":
        slope = float(call["negative_slope"])
        return min(slope, 1.0), max(slope, 1.0)
    return None


@rule(*SLOPES)
def slope(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """A function with bounded slope: W slope^2; limits that are tensors may broadcast it."""
    bound = SLOPES[call.operation.removeprefix("aten::")]
    source = call.source(call.node.target._schema.arguments[0].name)
    call.record(bound, "largest slope")
    return [(source, reduce_to(weight * bound**2, call.shape(), call.shape(source)))]


@rule("leaky_relu")
def leaky_relu(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Leaky ReLU: the larger of 1 and its negative slope."""
    bound = max(1.0, abs(float(call["negative_slope"])))
    call.record(bound, "largest slope")
    return [(call.source("self"), weight * bound**2)]


@rule("elu", "selu", "celu")
def exponential_linear(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """ELU family: `scale * x` above zero, slope up to `scale * alpha * input_scale` below."""
    if call.operation == "aten::selu":
        bound = 1.0507009873554805 * 1.6732632423543772
    elif call.operation == "aten::celu":
        if float(call["alpha"]) <= 0:
            raise call.unbounded(f"alpha must be positive, got {call['alpha']}")
        bound = 1.0
    else:
        if float(call["input_scale"]) <= 0:
            raise call.unbounded(f"input_scale must be positive, got {call['input_scale']}")
        scale = abs(float(call["scale"]))
        bound = scale * max(1.0, abs(float(call["alpha"]) * float(call["input_scale"])))
    call.record(bound, "largest slope")
    return [(call.source("self"), weight * bound**2)]


@rule("prelu", "_prelu_kernel")
def prelu(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """PReLU: the larger of 1 and the slope, channel by channel."""
    source = call.source("self")
    slopes = constant(call["weight"]).abs().clamp_min(1.0)
    if slopes.dim() == 1 and len(call.shape()) > 1:
        slopes = slopes.reshape(1, -1, *(1 for _ in call.shape()[2:]))
    call.record(float(slopes.max()), "largest slope")
    return [(source, weight * slopes**2)]


@rule("softplus")
def softplus(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Softplus `log(1 + exp(beta x)) / beta`: slope `sigmoid(beta x)`, at most 1.

    PyTorch returns x itself above `beta x = threshold`, which is less by a jump of
    `log(1 + exp(-threshold)) / beta`. Where that is at most half of the spacing of the numbers
    there (which is `eps / 2` to `eps` times their size), it is a rounding of the result: so for
    float32 and the default threshold of 20, 2e-9 against 6e-7. Any larger jump is a discontinuity.
    """
    beta, threshold = float(call["beta"]), float(call["threshold"])
    if beta <= 0:
        raise call.unbounded(f"beta must be positive, got {beta}")
    dtype = call.node.meta["val"].dtype
    if math.log1p(math.exp(-threshold)) > torch.finfo(dtype).eps * threshold / 4:
        raise call.unbounded(
            f"softplus jumps by {math.log1p(math.exp(-threshold)) / beta:.3g} at its threshold of "
            f"{threshold:g}, which is not within the rounding of {dtype}; a threshold of 40 is"
        )
    call.record(1.0, "largest slope")
    return [(call.source("self"), weight)]


@rule("softmax", "_softmax")
def softmax(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Softmax over one dimension: norm at most 1/2.

    The Jacobian `diag(p) - p p^T` is symmetric with absolute row sums `2 p_i (1 - p_i) <= 1/2`,
    so that Gershgorin's theorem bounds its norm.
    """
    call.record(0.5, "Gershgorin")
    return [(call.source("self"), maximum_over(weight, [call["dim"]]) * 0.25)]


@rule("sort", "topk")
def sort(call: Call, weight: dict[int, Tensor]) -> list[tuple[Node, Tensor]]:
    """Sorting along a dimension is 1-Lipschitz (rearrangement inequality), and so is its top."""
    if call.operation == "aten::topk" and not call["sorted"]:
        raise call.unbounded("the order of its results is arbitrary without sorted=True")
    call.record(1.0, "rearrangement")
    return [(call.source("self"), maximum_over(without_indices(call, weight), [call["dim"]]))]


@rule("maximum", "minimum", "max", "min")
def extremum(call: Call, weight: ResultWeight) -> list[tuple[Node, Tensor]]:
    """Maximum or minimum of two tensors: `|d max(a, b)|^2 <= da^2 + db^2`.

    The pair of both, MaxMin, is a sorting of (a, b): with weights W and V on its two results,
    `W dmax^2 + V dmin^2 <= max(W, V) (da^2 + db^2)`. The audit passes max(W, V) here.
    """
    if "other" not in call.arguments:
        return _extremum_of_set(call, weight)
    call.record(1.0, "sorting of two")
    shape, weight = call.shape(), without_indices(call, weight)
    return [(node, reduce_to(weight, shape, call.shape(node))) for node in call.live()]


@rule("amax", "amin", "logsumexp")
def reduced_extremum(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Maximum over dimensions: `|dmax|^2 <= max_i d_i^2 <= sum_i d_i^2`.

    The gradient of a logsumexp is a softmax p, so that `(p . d)^2 <= max_i d_i^2` as well.
    """
    return _extremum_of_set(call, weight)


def _extremum_of_set(call: Call, weight: ResultWeight) -> list[tuple[Node, Tensor]]:
    source = call.source("self")
    weight = without_indices(call, weight)
    rank = len(call.shape(source))
    dims = call.arguments.get("dim", [])
    dims = [dims] if isinstance(dims, int) else dims
    if not call.arguments.get("keepdim", False):
        for dim in sorted(dim % rank for dim in dims) or range(rank):
            weight = weight.unsqueeze(dim)
    call.record(1.0, "maximum of a set")
    return [(source, weight)]


@rule(
    "zeros_like",
    "ones_like",
    "full_like",
    "new_zeros",
    "new_ones",
    "new_full",
)
def shape_only(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """Constants that take only their shape from the input."""
    return []


@rule(
    "clone",
    "contiguous",
    "detach",
    "alias",
    "lift_fresh_copy",
    "_to_copy",
    "to",
    "dropout",
    "feature_dropout",
    "native_dropout",
)
def identity(call: Call, weight: ResultWeight) -> list[tuple[Node, Tensor]]:
    """Copies, and dropout in evaluation mode."""
    # None is how native_dropout says training.
    training = call.arguments.get("train", False) is not False
    if training and float(call["p"]) > 0:
        raise call.unbounded("dropout in training mode is not a fixed map")
    source = call.live()[0]
    if isinstance(weight, dict):
        weight = weight[0]
    return [(source, weight)]


@rule("batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm")
def batch_norm(call: Call, weight: ResultWeight) -> list[tuple[Node, Tensor]]:
    """Batch norm with running statistics: the affine map `gamma / sqrt(var + eps)` per channel."""
    source = call.source("input")
    if call.arguments.get("training", False) or call["running_var"] is None:
        raise call.unbounded("normalisation by the statistics of the batch has no bounded slope")
    if isinstance(weight, dict):
        weight = weight[0]
    scale = (constant(call["running_var"]) + float(call["eps"])).rsqrt()
    if call["weight"] is not None:
        scale = scale * constant(call["weight"]).abs()
    call.record(float(scale.max()), "largest |gamma| / sqrt(var + eps)")
    scale = scale.reshape(1, -1, *(1 for _ in call.shape(source)[2:]))
    return [(source, weight * scale**2)]


@rule("instance_norm")
def instance_norm(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """With running statistics it is a batch norm."""
    return image_norm(call, weight) if call["use_input_stats"] else batch_norm(call, weight)


@rule("layer_norm", "native_layer_norm", "group_norm", "native_group_norm", "rms_norm")
def image_norm(call: Call, weight: ResultWeight) -> list[tuple[Node, Tensor]]:
    """Division by a deviation of the image itself is refused, with the reason.

    With `s^2 = mean(x^2) + eps` the Jacobian of x / s is `(1 - x x^T / (n s^2)) / s`, whose norm
    reaches `1 / sqrt(eps)` at x = 0.
    """
    eps = call["eps"]
    if eps is None:
        eps = torch.finfo(call.node.args[0].meta["val"].dtype).eps
    reached = "without limit" if eps <= 0 else f"up to 1 / sqrt(eps) = {eps**-0.5:.4g}"
    raise call.unbounded(
        "no global bound that a certificate survives: it divides by the deviation of the image "
        f"itself, so that its slope grows where the image is flat, {reached} times its weight; "
        "batch norm divides by constants"
    )


@rule("log_softmax", "_log_softmax")
def log_softmax(call: Call, weight: Tensor) -> list[tuple[Node, Tensor]]:
    """A log-softmax is refused, with a better way.

    Its Jacobian `1 - 1 p^T` has the norm `sqrt(n)` where one probability is 1.
    """
    count = call.shape()[call["dim"]]
    raise call.unbounded(
        f"no global bound below sqrt(n) = {count**0.5:.4g} for n = {count} classes: certify the "
        "logits in front of it, whose labels and differences between classes are the same"
    )
