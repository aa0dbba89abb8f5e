"""What a certified sample says about each pixel of the original image."""

from __future__ import annotations

import numpy as np
from mmengine.structures import BaseDataElement

from mmseg_lipcert.certificates import flip_costs
from mmseg_lipcert.certificates.cells import cell_indices, repeat_labels


def prediction_map(sample: BaseDataElement) -> np.ndarray:
    """Predicted labels (H, W) of a sample at its original size, uint8."""
    return sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)


def radius_map(sample: BaseDataElement) -> np.ndarray:
    """Norm below which no perturbation of the image changes a pixel's prediction.

    Args:
        sample: With native logits, their Lipschitz bound and stride and, where the bound is that of
            the features, the classifier, as a LipEncoderDecoder gives it.

    Returns:
        Radii (H, W) at the original size, float32, in [0, 1] units of the image.
    """
    meta = sample.metainfo
    costs = flip_costs(sample.seg_logits.data, classifier=meta.get("classifier"))
    radius = costs / meta["lipschitz_bound"]
    rows, columns = (
        cell_indices(original, resized, meta["logit_stride"])
        for original, resized in zip(meta["ori_shape"], meta["img_shape"], strict=True)
    )
    return repeat_labels(radius, rows, columns).float().cpu().numpy()


def half_precision(radius: np.ndarray) -> np.ndarray:
    """Round radii to float16, down: a stored radius must not exceed the true one."""
    stored = radius.astype(np.float16)
    return np.where(stored > radius, np.nextafter(stored, np.float16(0)), stored)
