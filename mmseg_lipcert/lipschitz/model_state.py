"""What a model remembers from one run to the next."""

from __future__ import annotations

import array
import math
from collections.abc import Mapping, Sequence, Set
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# Nests of attributes are read down to this depth.
_DEPTH = 5


def model_state(model: nn.Module) -> dict[str, Any]:
    """Copy everything in a model's attributes that may make its next run another map.

    Parameters, buffers, plain tensors, arrays, numbers and texts of every module, also in
    containers and in the attributes of plain objects; of other objects, what they print. Global
    variables, classes, and what closures, generators and libraries hold are out of sight.

    Args:
        model: Any model.

    Returns:
        Copies by dotted name.
    """
    state = {}
    for path, module in model.named_modules():
        for key, value in vars(module).items():
            if key in ("_parameters", "_buffers"):
                state.update({_join(path, name): _copied(item) for name, item in value.items()})
            elif key != "_modules":
                state[_join(path, key)] = _copied(value)
    return state


def changed_names(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names of the attributes that differ between two copies of a model's state."""
    return sorted(
        name
        for name in before.keys() | after.keys()
        if name not in before or name not in after or not _same(before[name], after[name])
    )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _copied(value: Any, depth: int = 0) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if value is None or isinstance(value, Number | str | bytes):
        return value
    if depth == _DEPTH or isinstance(value, nn.Module | type):
        return type(value)
    if isinstance(value, bytearray | array.array):
        return bytes(value)
    if isinstance(value, Set):
        value = sorted(value, key=repr)
    elif isinstance(value, Mapping):
        value = [part for item in value.items() for part in item]
    elif not isinstance(value, Sequence):
        slots = getattr(type(value), "__slots__", ())
        held = [getattr(value, name, None) for name in ([slots] if slots == str(slots) else slots)]
        held.extend(getattr(value, "__dict__", {}).values())
        if not held:
            return repr(value)  # itertools.count prints its state
        value = held
    return [_copied(part, depth + 1) for part in value]


def _same(first: Any, second: Any) -> bool:
    if type(first) is not type(second):
        return False
    if isinstance(first, Tensor):
        return (
            first.shape == second.shape
            and first.dtype == second.dtype
            and torch.equal(first.nan_to_num(), second.nan_to_num())
        )
    if isinstance(first, np.ndarray):
        return first.shape == second.shape and bool((first == second).all())
    if isinstance(first, list):
        return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, float) and math.isnan(first):
        return math.isnan(second)
    return first == second
