"""What decides the numbers of a certification; a resumed one must have the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

# Settings of a smoothed model that change the pace, not the numbers.
_INDIFFERENT = ("draws_per_batch", "shard_draws")


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
    """Settings that every certification has: weights, model and data, as digests.

    Args:
        config: Config of the run.
        weights: Digest of the weights.
    """
    model = {key: value for key, value in config.model.items() if key not in _INDIFFERENT}
    pipeline = config.test_dataloader.dataset.get("pipeline")
    return {
        "weights": weights,
        "model": hashlib.sha256(str(model).encode()).hexdigest(),
        "pipeline": hashlib.sha256(str(pipeline).encode()).hexdigest(),
    }
