"""Checkpoints from files: weights and plain data, never code; anything else is named.

A ``.pth`` file is a pickle, and a pickle may hold a program. PyTorch's restricted reader runs none;
MMEngine tries again without the restriction (or has none), so that the loader of local files is
replaced by the one here, through MMEngine's own registry of loaders.
"""

from __future__ import annotations

import os
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from torch import Tensor

from .user_error import UserError

__all__ = ["check_finite", "read_checkpoint", "read_weights", "state_dict_of"]

# How files begin that were fetched in place of a checkpoint.
_OTHERS = {
    b"version https://git-lfs": "a Git LFS pointer: fetch the file itself with 'git lfs pull'",
    b"<": "a web page: download the file itself",
    b"{": "a text in JSON, no checkpoint",
    b"\x89HDF": "an HDF5 file: convert it to a PyTorch state_dict first",
}


def read_checkpoint(path: str | os.PathLike[str], map_location: Any = "cpu") -> dict[Any, Any]:
    """Read a checkpoint: weights, and the plain data that training keeps beside them.

    Args:
        path: File, in any format of ``torch.save``.
        map_location: As in ``torch.load``. Defaults to ``"cpu"``.

    Raises:
        UserError: If there is no such file, or it is no checkpoint, damaged, or holds objects that
            only code can restore, which is never run.
    """
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        what = "is a folder, a file is needed" if os.path.isdir(path) else "does not exist"
        raise UserError(f"checkpoint {path} {what}")
    with open(path, "rb") as file:
        start = file.read(64).lstrip()
    for begin, kind in _OTHERS.items():
        if start.startswith(begin):
            raise UserError(f"checkpoint {path} is {kind}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on old formats
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except MemoryError:
        raise
    # The readers of damaged files raise anything.
    except Exception as error:
        raise UserError(f"checkpoint {path} {_reason(error, start)}") from error
    if not isinstance(checkpoint, dict):
        raise UserError(f"checkpoint {path} holds a {type(checkpoint).__name__}, no state_dict")
    return checkpoint


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the weights of a checkpoint, saved alone or under ``"state_dict"``.

    Raises:
        UserError: As :func:`read_checkpoint` and :func:`state_dict_of`.
    """
    return state_dict_of(read_checkpoint(path), path)


def state_dict_of(checkpoint: Mapping[Any, Any], path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Weights of a checkpoint, with the prefix of distributed training removed.

    Args:
        checkpoint: A state_dict, or a dictionary with one under ``"state_dict"``.
        path: Its file, for messages.

    Raises:
        UserError: If it is not a dictionary of dense tensors by name, or empty.
    """
    state = checkpoint.get("state_dict", checkpoint)
    if not isinstance(state, Mapping) or not state:
        what = f"a {type(state).__name__}" if state or state is None else "nothing"
        raise UserError(f"checkpoint {path} holds {what} in place of a state_dict")
    for key, value in state.items():
        if not isinstance(key, str):
            raise UserError(f"checkpoint {path}: names of weights must be text, one is {key!r}")
        if not isinstance(value, Tensor):
            raise UserError(
                f"checkpoint {path}: {key} must be a tensor, it is a {type(value).__name__}; the "
                "file must hold a state_dict, alone or under 'state_dict'"
            )
        nested = value.is_nested
        if value.layout != torch.strided or value.is_quantized or value.is_meta or nested:
            kind = "nested" if nested else value.layout
            raise UserError(
                f"checkpoint {path}: {key} must be a dense tensor, it is {kind}, {value.dtype}, "
                f"on {value.device}"
            )
    return {re.sub(r"^module\.", "", key): value for key, value in state.items()}


def check_finite(weights: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Refuse weights that are no numbers, of networks that would answer with none.

    Args:
        weights: Weights by name.
        path: Their file, for messages.

    Raises:
        UserError: Naming the first one with NaN or infinite values.
    """
    for key, value in weights.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(
                f"{path}: {key} must hold finite floats, it is {value.dtype} with NaN or infinite "
                "values: fetch the file again, or train again"
            )


def _reason(error: Exception, start: bytes) -> str:
    text = " ".join(str(error).split())
    # PyTorch names the class or function: "Unsupported global: GLOBAL os.system was not ...".
    code = re.search(r"GLOBAL ([\w.]+) (?:was not|whose module)", text)
    if code or "TorchScript" in text:
        name = code[1] if code else "TorchScript"
        return (
            f"holds {name}, and no code of a checkpoint is ever run: save the weights alone, "
            "torch.save(model.state_dict(), FILE)"
        )
    # The advice that PyTorch adds would be to run the code.
    text = text.split("In PyTorch 2.6")[0]
    kind = "is empty" if not start else "cannot be read: it is no checkpoint, or cut off or damaged"
    return f"{kind}; fetch it again ({type(error).__name__}: {text[:120]})"


def _history_method(owner: object, name: str) -> Any:
    """``getattr`` as far as pickled histories need it, and no further.

    Raises:
        UnpicklingError: For anything but a public method of ``HistoryBuffer``.
    """
    if owner is not HistoryBuffer or name.startswith("_"):
        raise pickle.UnpicklingError(f"GLOBAL getattr was not allowed, of {owner!r}: {name!r}")
    return getattr(owner, name)


def _under_name(function: Callable, module: str, name: str) -> Callable:
    """The function under the name that pickles call it by, which is what PyTorch compares."""

    def renamed(*args: Any) -> Any:
        return function(*args)

    renamed.__module__, renamed.__name__, renamed.__qualname__ = module, name, name
    return renamed


# In these MMEngine keeps the course of a training and its metadata: arrays and histories. NumPy 2
# renamed the module of its two functions.
_CORE = (np._core if hasattr(np, "_core") else np.core).multiarray
torch.serialization.add_safe_globals(
    [
        *(np.ndarray, np.dtype, HistoryBuffer, slice),
        *{type(np.dtype(code)) for code in np.typecodes["All"] if code not in "OV"},
        _under_name(_history_method, "builtins", "getattr"),
        *(
            _under_name(getattr(_CORE, name), module, name)
            for name in ("_reconstruct", "scalar")
            for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        ),
    ]
)


@CheckpointLoader.register_scheme(prefixes="", force=True)
def load_from_local(filename: str, map_location: Any = None) -> dict[Any, Any]:
    """Read a checkpoint for MMEngine, which replaces its own reader of local files.

    Raises:
        UserError: As :func:`read_weights`.
    """
    checkpoint = read_checkpoint(filename, map_location)
    state_dict_of(checkpoint, filename)
    return checkpoint
