"""From the figures of a smoothed segmentor on a dataset to the content of certificate.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..certificates import SmoothingSettings
from ..certificates.smoothing.records import SmoothingSummary
from .certificate_file import certificate_frame, named_classes
from .records import Certificate, HierarchyRecord

if TYPE_CHECKING:
    from ..certificates.smoothing import ClassHierarchy


def build_smoothing_certificate(
    summary: SmoothingSummary,
    entries: Sequence[Mapping[str, Any]],
    settings: SmoothingSettings,
    classes: Sequence[str],
    model: dict[str, str],
    *,
    method: str,
    noise_at: str,
    hierarchy: ClassHierarchy | None,
    seed: int,
) -> Certificate:
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
    certified = summary["certified"]
    clean = {**summary["clean"], **unattacked}
    return {
        **certificate_frame(method, clean, certified, classes, entries, model, seed),
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
            "hierarchy": None if hierarchy is None else _named_groups(hierarchy, classes),
            "smoothed": named_classes({**summary["smoothed"], **unattacked}, classes),
        },
        "accuracy_curve": summary["curve"],
    }


def _named_groups(hierarchy: ClassHierarchy, classes: Sequence[str]) -> HierarchyRecord:
    """The share that a class or group needs, and the groups of each level by names of classes."""
    return {
        "share": hierarchy.share,
        "levels": [
            {name: [classes[c] for c in group] for name, group in level.items()}
            for level in hierarchy.levels
        ],
    }
