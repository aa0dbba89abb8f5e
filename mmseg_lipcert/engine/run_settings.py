"""What decides the numbers of a certification; a resumed one must have the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.fileio import get
from torch import Tensor

from mmseg_lipcert.version import __version__

# Settings of a smoothed model that change the pace, not the numbers, and those that a method
# records by themselves.
_LEFT_OUT = (
    *("draws_per_batch", "shard_draws"),
    *("sigma", "n0", "n", "noise_at", "scale", "seed", "autocast", "hierarchy"),
)


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
    """Settings that every certification has: weights, model and data, as digests, and the version.

    Args:
        config: Config of the run.
        weights: Digest of the weights.
    """
    model = {key: value for key, value in config.model.items() if key not in _LEFT_OUT}
    return {
        "version": __version__,
        "weights": weights,
        "model": hashlib.sha256(str(model).encode()).hexdigest(),
        "dataset": hashlib.sha256(str(config.test_dataloader.dataset).encode()).hexdigest(),
    }


def data_digest(image: str, labels: str | None, backend_args: dict | None = None) -> str:
    """SHA-256 of an image file and its label file."""
    digest = hashlib.sha256()
    for path in (image, labels):
        if path is not None:
            content = get(path, backend_args=backend_args)
            digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()
