from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ClassMix(BaseTransform):
    """Paste half of the classes of another image: objects in streets where they never stood.

    For the pipeline of a ``MultiImageMixDataset`` whose images have one size. What is pasted are
    all pixels of a random half (rounded up) of the labels that the other image has, without the
    ignored ones.

    Required keys: ``img`` (H, W, 3), ``gt_seg_map`` (H, W), and ``mix_results`` with the same keys
    of the other image. Modified keys: ``img``, ``gt_seg_map``.

    Source: Olsson et al., "ClassMix: Segmentation-Based Data Augmentation for Semi-Supervised
    Learning", WACV 2021; here with the labels of both images.

    Args:
        prob: Probability of pasting. Defaults to 0.5.
        ignore_index: Label that is never pasted. Defaults to 255.

    Raises:
        ValueError: If prob is not in [0, 1], or the two images have different sizes.
    """

    def __init__(self, prob: float = 0.5, ignore_index: int = 255) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"prob must be in [0, 1], got {prob}")
        self.prob = prob
        self.ignore_index = ignore_index

    def get_indices(self, dataset: Sequence) -> list[int]:
        """Number of the other image, if there is to be one."""
        if np.random.uniform() >= self.prob:
            return []
        return [np.random.randint(len(dataset))]

    def transform(self, results: dict) -> dict:
        """Paste."""
        for other in results["mix_results"]:
            labels = other["gt_seg_map"]
            if labels.shape != results["gt_seg_map"].shape:
                raise ValueError(
                    f"ClassMix needs images of one size, got {results['gt_seg_map'].shape} and "
                    f"{labels.shape}: crop them in the inner dataset"
                )
            present = np.setdiff1d(labels, [self.ignore_index])
            pasted = np.random.permutation(present)[: (len(present) + 1) // 2]
            mask = np.isin(labels, pasted)
            results["img"] = np.where(mask[..., None], other["img"], results["img"])
            results["gt_seg_map"] = np.where(mask, labels, results["gt_seg_map"])
        return results

    def __repr__(self) -> str:
        """Name and settings."""
        return f"{type(self).__name__}(prob={self.prob}, ignore_index={self.ignore_index})"
