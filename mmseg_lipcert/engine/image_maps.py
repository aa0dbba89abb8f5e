"""What a certified sample says about each pixel of the original image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from mmengine.structures import BaseDataElement

from mmseg_lipcert.certificates import SmoothingSettings, certified_labels, flip_costs
from mmseg_lipcert.certificates import radius_map as hits_radius_map
from mmseg_lipcert.certificates.cells import cell_indices, repeat_labels

if TYPE_CHECKING:
    from mmseg_lipcert.certificates.smoothing import ClassHierarchy


def prediction_map(sample: BaseDataElement) -> np.ndarray:
    """Predicted labels (H, W) of a sample at its original size, uint8."""
    return sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)


def radius_map(sample: BaseDataElement) -> np.ndarray:
    """Norm below which no perturbation of the image changes a pixel's prediction.

    Args:
        sample: With native logits, their Lipschitz bound and stride and, where the bound is that of
            the features, the classifier, as a LipEncoderDecoder gives it.

    Returns:
        Radii (H, W) at the original size, float64, in [0, 1] units of the image.
    """
    meta = sample.metainfo
    costs = flip_costs(sample.seg_logits.data, classifier=meta.get("classifier"))
    radius = costs / meta["lipschitz_bound"]
    rows, columns = (
        cell_indices(original, resized, meta["logit_stride"])
        for original, resized in zip(meta["ori_shape"], meta["img_shape"], strict=True)
    )
    return repeat_labels(radius, rows, columns).cpu().numpy()


def smoothed_radius_map(
    sample: BaseDataElement, settings: SmoothingSettings, hierarchy: ClassHierarchy | None = None
) -> np.ndarray:
    """Norm up to which the selection of each pixel holds, all pixels together.

    Args:
        sample: With selected classes and their hits, as a SmoothedSegmentor gives it.
        settings: What is claimed.
        hierarchy: Of the selected vertices; without one they are classes.

    Returns:
        Radii (H, W), float64, in [0, 1] units of the image; 0 where nothing is proven.
    """
    radius = hits_radius_map(sample.smoothing_hits.data[0], settings)
    if hierarchy is not None:
        # The root always holds, and says nothing.
        radius = radius.masked_fill(sample.smoothing_selected.data[0] == hierarchy.abstain, 0.0)
    return radius.cpu().numpy()


def lipschitz_maps(sample: BaseDataElement) -> dict[str, np.ndarray]:
    """Stored maps of a Lipschitz certificate: prediction, and radius rounded down to float16."""
    return dict(prediction=prediction_map(sample), radius=half_precision(radius_map(sample)))


def smoothing_maps(
    sample: BaseDataElement, settings: SmoothingSettings, hierarchy: ClassHierarchy | None = None
) -> dict[str, np.ndarray]:
    """Stored maps of a smoothed certificate.

    Args:
        sample: With selected classes and their hits, as a SmoothedSegmentor gives it.
        settings: What is claimed.
        hierarchy: Of the selected vertices; without one they are classes.

    Returns:
        ``prediction``, certified labels (255: abstained); ``radius`` of each pixel, rounded down to
        float16; ``selected`` and ``hits``.
    """
    selected, hits = sample.smoothing_selected.data[0], sample.smoothing_hits.data[0]
    labels = certified_labels(selected, hits, settings, hierarchy)
    counts = np.uint16 if settings.n < 2**16 else np.int32
    return dict(
        prediction=labels.cpu().numpy().astype(np.uint8),
        radius=half_precision(smoothed_radius_map(sample, settings, hierarchy)),
        selected=selected.cpu().numpy().astype(np.uint16),
        hits=hits.cpu().numpy().astype(counts),
    )


def half_precision(radius: np.ndarray) -> np.ndarray:
    """Round radii to float16, down: a stored radius must not exceed the true one."""
    stored = radius.astype(np.float16)
    return np.where(stored > radius, np.nextafter(stored, np.float16(0)), stored)
