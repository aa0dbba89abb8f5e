"""Checks at the door: every bad input gets one error that names the value and what is right."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

_Entry = TypeVar("_Entry")


def check_logits(logits: Tensor, batched: bool = False) -> None:
    """Require finite floating-point logits.

    Args:
        logits: ``(K, H, W)``, or ``(..., K, H, W)`` when ``batched``.
        batched: Whether leading dimensions are allowed.

    Raises:
        ValueError: On a wrong dtype or number of dimensions, no pixel, or a NaN or infinite value.
    """
    wanted = "(..., K, H, W)" if batched else "(K, H, W)"
    if logits.ndim < 3 or (logits.ndim > 3 and not batched):
        raise ValueError(f"logits must have shape {wanted}, got {tuple(logits.shape)}")
    if not logits.is_floating_point():
        raise ValueError(f"logits must be floating point, got {logits.dtype}")
    if logits.numel() == 0:
        raise ValueError(f"logits of shape {tuple(logits.shape)} contain no value")
    # A finite sum has finite terms; a sum that is not may have overflowed.
    if not math.isfinite(logits.detach().sum()) and not torch.isfinite(logits).all():
        raise ValueError("logits contain NaN or infinite values: nothing can be certified")


def check_norm(norm: float) -> float:
    """Return the order p of the norm, one of 1, 2 and inf.

    Raises:
        ValueError: On any other value.
    """
    if norm not in (1, 2, math.inf):
        raise ValueError(f"norm must be 1, 2 or inf, got {norm!r}")
    return float(norm)


def check_classifier(classifier: Tensor, num_logits: int, norm: float = 2) -> None:
    """Require a finite ``(K, C)`` weight matrix, and p = 2.

    Raises:
        ValueError: On a wrong shape, a non-finite weight or another norm.
    """
    if norm != 2:
        raise ValueError(f"classifier-aware costs exist for norm=2 only, got norm={norm!r}")
    if classifier.ndim != 2 or classifier.shape[0] != num_logits:
        raise ValueError(
            f"classifier must have shape ({num_logits}, C), one row per logit, "
            f"got {tuple(classifier.shape)}"
        )
    if not torch.isfinite(classifier).all():
        raise ValueError("classifier contains NaN or infinite weights")


def check_class_index(class_index: int | None, num_classes: int, what: str) -> int:
    """Return a class index inside [0, num_classes).

    Raises:
        ValueError: When it is missing or out of range.
    """
    if class_index is None:
        raise ValueError(f"{what} needs class_index, an integer in [0, {num_classes})")
    if isinstance(class_index, bool) or int(class_index) != class_index:
        raise ValueError(f"class_index must be an integer, got {class_index!r}")
    if not 0 <= class_index < num_classes:
        raise ValueError(f"class_index must be in [0, {num_classes}), got {class_index}")
    return int(class_index)


def check_eps(eps: float | Sequence[float] | Tensor) -> list[float]:
    """Return the attack sizes as a list of finite non-negative floats.

    Raises:
        ValueError: When there is none, or on a negative, NaN or infinite one.
    """
    values = [float(e) for e in np.atleast_1d(np.asarray(eps, dtype=np.float64)).ravel()]
    if not values:
        raise ValueError("eps must contain at least one value")
    for value in values:
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"eps must be finite and >= 0, got {value}")
    return values


def check_lipschitz(lipschitz: float) -> float:
    """Return the Lipschitz bound as a finite positive float.

    Raises:
        ValueError: Otherwise.
    """
    value = float(lipschitz)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"lipschitz must be finite and > 0, got {value}")
    return value


def check_threshold(threshold: float) -> float:
    """Return the threshold of a radius query as a finite float.

    Raises:
        ValueError: When it is NaN or infinite.
    """
    value = float(threshold)
    if not math.isfinite(value):
        raise ValueError(f"threshold must be finite, got {value}")
    return value


def check_share(share: float, name: str) -> float:
    """Return a share of pixels in (0, 1].

    Raises:
        ValueError: Otherwise.
    """
    value = float(share)
    if not 0 < value <= 1:
        raise ValueError(f"{name} must be in (0, 1], got {value}")
    return value


def check_integer_map(values: Tensor, shape: tuple[int, ...], name: str) -> None:
    """Require an integer tensor of a given shape.

    Raises:
        ValueError: Otherwise.
    """
    if tuple(values.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(values.shape)}, the logits need {shape}")
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise ValueError(f"{name} must hold integers, got {values.dtype}")


def check_labels(target: Tensor, num_classes: int, ignore_index: int) -> None:
    """Require labels in [0, num_classes) or equal to ``ignore_index``.

    Raises:
        ValueError: Naming the first label that is neither.
    """
    bad = ((target < 0) | (target >= num_classes)) & (target != ignore_index)
    if bad.any():
        label = target[bad].flatten()[0].item()
        raise ValueError(
            f"target contains label {label}: labels must be in [0, {num_classes}) "
            f"or ignore_index={ignore_index}"
        )


def check_weights(weights: Tensor, shape: tuple[int, ...]) -> None:
    """Require finite non-negative pixel weights of a given shape.

    Raises:
        ValueError: Otherwise.
    """
    if tuple(weights.shape) != shape:
        raise ValueError(f"weights have shape {tuple(weights.shape)}, the logits need {shape}")
    if weights.is_complex() or not torch.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("weights must be finite and >= 0")


def check_entries(entries: Sequence[_Entry], shared: Mapping[str, Callable[[_Entry], Any]]) -> None:
    """Refuse entries that are not of one dataset.

    Args:
        entries: Of images.
        shared: What all of them must have in common, by name.

    Raises:
        ValueError: Without entries, or when they do not agree.
    """
    if not entries:
        raise ValueError("entries is empty: there is no dataset to summarise")
    for name, of in shared.items():
        for number, entry in enumerate(entries):
            if of(entry) != of(entries[0]):
                raise ValueError(
                    f"entry {number} has {name} {of(entry)}, entry 0 has {of(entries[0])}: "
                    "entries of one dataset must agree"
                )
