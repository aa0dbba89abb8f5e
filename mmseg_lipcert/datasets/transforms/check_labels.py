"""Refuse labels that are not classes."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CheckLabels(BaseTransform):
    """Raise if a label map holds ids outside the classes or does not fit its image.

    A stray id would silently count as an error of the network, or as void, in every metric and
    certificate. Put it directly after the annotations are loaded.

    Required keys: ``gt_seg_map`` (H, W), ``seg_map_path``; ``ori_shape`` if an image was loaded.
    The results are returned unchanged.

    Args:
        num_classes: Number of classes; valid ids are 0..num_classes - 1.
        ignore_index: The id of void pixels. Defaults to 255.

    Raises:
        ValueError: If the label map is not one channel of the size of the image, or if an id is
            neither a class nor ``ignore_index``. The message names the file, the ids and the
            number of classes.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        if not 1 <= num_classes <= 256:
            raise ValueError(f"num_classes must be in 1..256 (labels are uint8), got {num_classes}")
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        """Check ``results['gt_seg_map']`` and return ``results``."""
        labels, path = results["gt_seg_map"], results["seg_map_path"]
        expected = results.get("ori_shape", labels.shape[:2])
        if labels.shape != tuple(expected):
            raise ValueError(
                f"label file {path} has shape {labels.shape}, expected one channel of the size of "
                f"its image, {tuple(expected)}"
            )
        counts = np.bincount(labels.ravel(), minlength=256)
        stray = [
            int(i)
            for i in np.flatnonzero(counts)
            if i >= self.num_classes and i != self.ignore_index
        ]
        if stray:
            raise ValueError(
                f"label file {path} has ids {stray}, but there are {self.num_classes} classes: "
                f"valid ids are 0..{self.num_classes - 1} and {self.ignore_index} for void"
            )
        return results

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}(num_classes={self.num_classes}, ignore_index={self.ignore_index})"
