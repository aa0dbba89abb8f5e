from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

from ...certificates.boxes import label_boxes
from ...certificates.detection import DenseDetector


@METRICS.register_module()
class DetectionMetric(BaseMetric):
    """Recall and precision of the boxes of a :class:`LipDetector`, in percent; no certificate.

    An object is found if a box of its class has at least the asked IoU with it, and a box is right
    if it has with any object of its class.

    Args:
        object_classes: Labels of the classes of objects, as the detector's head has them.
        min_pixels: Components with fewer pixels are no objects. Defaults to 50.
        iou: Intersection over union that is asked for. Defaults to 0.5.
        collect_device: ``'cpu'`` or ``'gpu'``. Defaults to ``'cpu'``.
        prefix: Prefix of the metric names. Defaults to ``'detection'``.
    """

    default_prefix = "detection"

    def __init__(
        self,
        object_classes: Sequence[int],
        min_pixels: int = 50,
        iou: float = 0.5,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        self.object_classes = list(object_classes)
        self.min_pixels, self.iou = min_pixels, iou

    def process(self, data_batch: dict, data_samples: Sequence[dict[str, Any]]) -> None:
        """Count objects and boxes of each image.

        Args:
            data_batch: Not used.
            data_samples: With ``detector`` and labels.
        """
        for sample in data_samples:
            labels = sample["gt_sem_seg"]["data"][0].numpy(force=True)
            self.results.append(self.count(sample["detector"], labels))

    def count(self, detector: DenseDetector, labels: np.ndarray) -> np.ndarray:
        """Objects, found ones, boxes and right ones (4, K) of an image with labels (H, W)."""
        kinds, boxes, _ = label_boxes(labels, self.object_classes, self.min_pixels)
        found = detector.detections
        fits = found.fits(kinds, boxes, self.iou)
        classes = len(self.object_classes)
        parts = (kinds, kinds[fits.any(0)], found.classes, found.classes[fits.any(1)])
        return np.stack([np.bincount(part, minlength=classes) for part in parts])

    def compute_metrics(self, results: list[np.ndarray]) -> dict[str, float]:
        """Recall and precision over all classes, and of each by its label."""
        counts = np.sum(results, axis=0)
        figures = {}
        for name, part in zip(
            ("", *(f"_{label}" for label in self.object_classes)),
            (counts.sum(1), *counts.T),
            strict=True,
        ):
            objects, found, boxes, right = part.tolist()
            figures[f"recall{name}"] = 100 * found / objects if objects else float("nan")
            figures[f"precision{name}"] = 100 * right / boxes if boxes else float("nan")
        return figures
