"""What decides the numbers of a certification; a resumed one must have the same."""

from __future__ import annotations

import glob
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.fileio import get
from torch import Tensor

from ..version import __version__

# Settings of a smoothed model that change the pace, not the numbers, and those that a method
# records by themselves.
_LEFT_OUT = (
    *("draws_per_batch", "shard_draws", "channels_last", "compile", "budget"),
    *("sigma", "n0", "n", "noise_at", "scale", "seed", "autocast", "hierarchy"),
)

# Packages whose next version may compute another label, or other noise.
_PACKAGES = (*("numpy", "torch", "mmcv", "mmengine", "mmseg"), *("diffusers", "onnxruntime"))

# Names of configurations that are read along with a file of weights.
_CONFIGS = ("config.json", "scheduler_config.json")


def weights_digest(state_dict: Mapping[str, Tensor]) -> str:
    """SHA-256 of all weights."""
    digest = hashlib.sha256()
    for key in sorted(state_dict):
        digest.update(key.encode())
        # As bytes: NumPy does not know every type of PyTorch.
        values = state_dict[key].detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def run_settings(config: Config, weights: str) -> dict[str, Any]:
    """Settings that every certification has: weights, model and data, as digests, and versions.

    A model is more than its config and the weights of a checkpoint: whatever files it is made of,
    such as a denoiser's, are digested too.

    Args:
        config: Config of the run, whose model has been built.
        weights: Digest of the weights.
    """
    model = {key: value for key, value in config.model.items() if key not in _LEFT_OUT}
    files = sorted(file for path in _paths(model) for file in _files_of(path))
    return {
        "version": __version__,
        "weights": weights,
        "model": hashlib.sha256(str(model).encode()).hexdigest(),
        **{f"file {file}": _file_digest(file) for file in files},
        **{
            f"version of {name}": sys.modules[name].__version__
            for name in _PACKAGES
            if name in sys.modules
        },
        "dataset": hashlib.sha256(str(config.test_dataloader.dataset).encode()).hexdigest(),
    }


def _paths(config: Any) -> Iterator[Path]:
    """What the keys ``path`` anywhere in a config name, as far as it exists."""
    if isinstance(config, Mapping):
        path = config.get("path")
        if isinstance(path, (str, os.PathLike)) and Path(path).exists():
            yield Path(path)
        config = config.values()
    elif not isinstance(config, (list, tuple)):
        return
    for part in config:
        yield from _paths(part)


def _files_of(path: Path) -> set[Path]:
    """All files of a folder; a file, with what is read along with it from around it."""
    if path.is_dir():
        found = path.rglob("*")
    else:
        places = (path.parent, path.parent / "scheduler", path.parent.parent / "scheduler")
        found = path.parent.glob(f"{glob.escape(path.name)}*")
        found = [*found, *(place / name for place in places for name in _CONFIGS)]
    return {file for file in found if file.is_file()}


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def data_digest(image: str, labels: str | None, backend_args: dict | None = None) -> str:
    """SHA-256 of an image file and its label file."""
    digest = hashlib.sha256()
    for path in (image, labels):
        if path is not None:
            content = get(path, backend_args=backend_args)
            digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()
