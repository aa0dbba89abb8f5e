"""From the figures of a dataset to the content of certificate.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .certificate_file import certificate_frame, named_classes


def build_lipschitz_certificate(
    summary: dict[str, Any],
    entries: Sequence[dict[str, Any]],
    audit: dict[str, float],
    classes: Sequence[str],
    model: dict[str, str],
    *,
    vanish_share: float,
    min_pixels: int,
    seed: int | None,
) -> dict[str, Any]:
    """Assemble a Lipschitz certificate as ``certificate.schema.json`` describes it.

    Args:
        summary: Of :func:`mmseg_lipcert.certificates.dataset_summary`.
        entries: Of the images, with ``resized``, ``seconds_forward`` and ``seconds_certificate``.
        audit: ``bound``, ``lower_bound``, ``preprocessing`` and ``network`` at the size of the
            first image.
        classes: Class names.
        model: What was certified: type, config, checkpoint, digest of the weights.
        vanish_share: Share of an object whose loss counted as vanishing.
        min_pixels: Smaller objects were left out.
        seed: Random seed of the run.

    Returns:
        The certificate; NaN and infinite values are written by ``certificate_json``.
    """
    # The audit was made at the size of the first image; other sizes may have larger bounds.
    bound = max(entry["lipschitz"] for entry in entries)

    def by_class(rows: list[dict] | None, **constants: float) -> list[dict] | None:
        return rows and [{**row, "class": classes[row["class"]], **constants} for row in rows]

    return {
        **certificate_frame("lipschitz", summary["images"], seed, entries, model),
        "lipschitz": {
            **audit,
            "bound": bound,
            "network": bound / audit["preprocessing"],
            "resized_images": sum(entry["resized"] for entry in entries),
        },
        "clean": named_classes(summary["clean"], classes),
        "certified": [named_classes(row, classes) for row in summary["certified"]],
        "radius": summary["radius"],
        "curve": summary["curve"],
        "regions": by_class(summary["regions"], vanish_share=vanish_share, min_pixels=min_pixels),
        "fabrication": by_class(summary["fabrication"]),
    }
