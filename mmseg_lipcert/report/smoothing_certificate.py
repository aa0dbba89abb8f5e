"""From the figures of a smoothed segmentor on a dataset to the content of certificate.json."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..certificates import SmoothingSettings
from .certificate_file import certificate_frame, named_classes

if TYPE_CHECKING:
    from ..certificates.smoothing import ClassHierarchy


def build_smoothing_certificate(
    summary: dict[str, Any],
    entries: Sequence[dict[str, Any]],
    settings: SmoothingSettings,
    classes: Sequence[str],
    model: dict[str, str],
    *,
    method: str,
    noise_at: str,
    hierarchy: ClassHierarchy | None,
    seed: int,
) -> dict[str, Any]:
    """Assemble a smoothing certificate as ``certificate.schema.json`` describes it.

    Args:
        summary: Of :func:`mmseg_lipcert.certificates.smoothing_summary`.
        entries: Of the images, with ``seconds_forward``, ``seconds_certificate`` and
            ``forward_passes``.
        settings: Of the test.
        classes: Class names.
        model: What was certified: type, config, checkpoint, digest of the weights.
        method: ``'smoothing'`` or ``'denoise'``.
        noise_at: Where the noise was added: ``'original'`` or ``'network'``.
        hierarchy: Groups of classes that pixels fall back to.
        seed: Seed of the noise.

    Returns:
        The certificate; NaN values are written by ``certificate_json``.
    """
    # Nobody attacks: every labeled pixel keeps its prediction, if there is one.
    unlabeled = math.isnan(summary["clean"]["pixel_accuracy"])
    unattacked = {"stability": math.nan if unlabeled else 1.0}
    certified = [named_classes(row, classes) for row in summary["certified"]]
    return {
        **certificate_frame(method, summary["images"], seed, entries, model),
        "smoothing": {
            "sigma": settings.sigma,
            "radius": certified[0]["eps"],
            "n0": settings.n0,
            "n": settings.n,
            "alpha": settings.alpha,
            "tau": settings.taus[0],
            "correction": settings.correction,
            "k": settings.k,
            "abstain": certified[0]["abstain"],
            "guarantee": summary["guarantee"],
            "noise_at": noise_at,
            "hierarchy": hierarchy and _named_groups(hierarchy, classes),
            "smoothed": named_classes({**summary["smoothed"], **unattacked}, classes),
        },
        "clean": named_classes({**summary["clean"], **unattacked}, classes),
        "certified": certified,
        "accuracy_curve": summary["curve"],
    }


def _named_groups(hierarchy: ClassHierarchy, classes: Sequence[str]) -> dict[str, Any]:
    """The share that a class or group needs, and the groups of each level by names of classes."""
    return {
        "share": hierarchy.share,
        "levels": [
            {name: [classes[c] for c in group] for name, group in level.items()}
            for level in hierarchy.levels
        ],
    }
