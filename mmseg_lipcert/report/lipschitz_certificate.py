"""From the figures of a dataset to the content of certificate.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..certificates import RegionQuery
from ..certificates.records import DatasetSummary
from .certificate_file import certificate_frame
from .records import Certificate


def build_lipschitz_certificate(
    summary: DatasetSummary,
    entries: Sequence[Mapping[str, Any]],
    audit: dict[str, float],
    classes: Sequence[str],
    model: dict[str, str],
    *,
    query: RegionQuery,
    seed: int | None,
) -> Certificate:
    """Assemble a Lipschitz certificate as ``certificate.schema.json`` describes it.

    Args:
        summary: Of :func:`mmseg_lipcert.certificates.dataset_summary`.
        entries: Of the images, with ``resized``, ``seconds_forward`` and ``seconds_certificate``.
        audit: ``bound``, ``lower_bound``, ``preprocessing`` and ``network`` at the size of the
            first image.
        classes: Class names.
        model: What was certified: type, config, checkpoint, digest of the weights.
        query: What was asked about objects.
        seed: Random seed of the run.

    Returns:
        The certificate; NaN and infinite values are written by ``certificate_json``.
    """
    # The audit was made at the size of the first image; other sizes may have larger bounds.
    bound = max(entry["lipschitz"] for entry in entries)

    def by_class(rows: list[dict] | None, **constants: float) -> list[dict] | None:
        return rows and [{**row, "class": classes[row["class"]], **constants} for row in rows]

    norms = [row["eps"] for row in summary["certified"]]
    regions = by_class(
        summary["regions"], vanish_share=query.vanish_share, min_pixels=query.min_pixels
    )
    for row in regions or ():
        row["certified"] = [
            {"eps": eps, "detected": detected}
            for eps, detected in zip(norms, row.pop("detected"), strict=True)
        ]
    fabrication = by_class(summary["fabrication"], distance=query.fabricate_distance)
    for row in fabrication or ():
        row["certified"] = [
            {"eps": eps, **figures} for eps, figures in zip(norms, row["certified"], strict=True)
        ]

    return {
        **certificate_frame(
            "lipschitz", summary["clean"], summary["certified"], classes, entries, model, seed
        ),
        "lipschitz": {
            "bound": bound,
            "lower_bound": audit["lower_bound"],
            "preprocessing": audit["preprocessing"],
            "network": bound / audit["preprocessing"],
            "resized_images": sum(entry["resized"] for entry in entries),
        },
        "radius": summary["radius"],
        "curve": summary["curve"],
        "accuracy_curve": summary["accuracy_curve"],
        "regions": regions,
        "fabrication": fabrication,
    }
