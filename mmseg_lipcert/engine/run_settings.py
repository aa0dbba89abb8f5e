"""What decides the numbers of a certification; a resumed one must have the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from torch import Tensor

from mmseg_lipcert.evaluation.metrics import LipschitzCertificateMetric


def weights_digest(state_dict: Mapping[str, Tensor]) -> str:
    """SHA-256 of all weights."""
    digest = hashlib.sha256()
    for key in sorted(state_dict):
        digest.update(key.encode())
        digest.update(state_dict[key].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def run_settings(
    metric: LipschitzCertificateMetric, config: Config, weights: str
) -> dict[str, Any]:
    """Settings of a certification, for ``run.json``.

    Args:
        metric: The metric, with the dataset's classes.
        config: Config of the run.
        weights: Digest of the weights.
    """
    query = metric.region_query
    pipeline = config.test_dataloader.dataset.get("pipeline")
    return {
        "method": "lipschitz",
        "eps": metric.eps,
        "thresholds": metric.thresholds,
        "shares": metric.shares,
        "vanish_share": query.vanish_share,
        "min_region_pixels": query.min_pixels,
        "fabricate_classes": list(query.fabricate_classes),
        "fabricate_pixels": query.fabricate_pixels,
        "ignore_index": metric.ignore_index,
        "weights": weights,
        "model": hashlib.sha256(str(config.model).encode()).hexdigest(),
        "pipeline": hashlib.sha256(str(pipeline).encode()).hexdigest(),
    }
