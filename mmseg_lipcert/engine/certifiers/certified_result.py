from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from ...certificates.validation import check_eps
from ...evaluation.metrics import CertificateMetric
from ...visualization import save_certificate_figure


class CertifiedResult(ABC):
    """What is guaranteed about one image.

    Args:
        sample: The prediction with what the certificate rests on, and the labels if there are any.
        image: Pixels (H, W, 3) of the image, RGB; only pictures need them.
        metric: What makes the certificate's figures.
    """

    def __init__(
        self, sample: SegDataSample, image: np.ndarray | None, metric: CertificateMetric
    ) -> None:
        self.sample = sample
        self.image = image
        self.metric = metric

    @property
    def name(self) -> str:
        """Name of the image, as in the results of ``tools/test.py --certify``."""
        return self.sample.image_name

    @property
    def target(self) -> np.ndarray | None:
        """Labels (H, W) that were given; None without."""
        if "gt_sem_seg" not in self.sample:
            return None
        return self.sample.gt_sem_seg.data[0].numpy(force=True).copy()

    @property
    def labels(self) -> np.ndarray:
        """Predicted labels (H, W), uint8; 255 where a smoothed segmentor abstains."""
        return self.maps["prediction"]

    @property
    @abstractmethod
    def bound(self) -> float | None:
        """Lipschitz bound from images in [0, 1] to the certified output; None without one."""

    @property
    @abstractmethod
    def radius(self) -> np.ndarray:
        """Radius (H, W) of each pixel, float64, l2, images in [0, 1]."""

    @property
    @abstractmethod
    def maps(self) -> dict[str, np.ndarray]:
        """The arrays that ``tools/test.py --certify`` stores of this image."""

    @property
    def _stored_radius(self) -> np.ndarray:
        """Radii rounded to float16, down: a stored radius must not exceed the true one."""
        stored = self.radius.astype(np.float16)
        return np.where(stored > self.radius, np.nextafter(stored, np.float16(0)), stored)

    @abstractmethod
    def robust_mask(self, eps: float) -> np.ndarray:
        """Pixels (H, W) whose prediction no perturbation of norm ``eps`` can change.

        Args:
            eps: l2 norm of the perturbation, images in [0, 1].
        """

    @abstractmethod
    def worst_case(
        self,
        metric: str,
        eps: float | Sequence[float] | None = None,
        class_index: int | None = None,
    ) -> float | np.ndarray:
        """Value of a metric that no perturbation of norm ``eps`` can undercut.

        Args:
            metric: One of ``certificates.QUERIES``: pixel_accuracy, stability, recall, mIoU, ...
            eps: One norm or several.
            class_index: The class, for a metric of one class.

        Returns:
            A number for one norm, an array for several.

        Raises:
            ValueError: If labels are needed and none were given, or for a wrong argument.
        """

    @abstractmethod
    def robustness_radius(
        self, metric: str, threshold: float, class_index: int | None = None
    ) -> float:
        """Largest norm under which a metric is guaranteed to stay at or above a threshold.

        Args:
            metric: As in :meth:`worst_case`.
            threshold: The value to be guaranteed.
            class_index: The class, for a metric of one class.
        """

    def stability(self, eps: float | Sequence[float] | None = None) -> float | np.ndarray:
        """Share of the pixels whose prediction cannot change; needs no labels.

        Ignored pixels do not count if there are labels.

        Args:
            eps: As in :meth:`worst_case`.
        """
        return self.worst_case("stability", eps)

    @cached_property
    def entry(self) -> dict[str, Any]:
        """All figures of the image, as ``tools/test.py --certify`` keeps them, without its times.

        Raises:
            ValueError: If no labels were given.
        """
        self._need_labels("entry")
        return {**self._certify(self.sample), "image": self.name}

    def draw(self, out_file: str | os.PathLike[str]) -> None:
        """Save a picture: image, labels if there are any, prediction and radius of each pixel.

        Args:
            out_file: PNG to write; its folder is made if needed.
        """
        save_certificate_figure(
            out_file,
            self.image,
            self.target,
            self.labels,
            self.maps["radius"],
            self.metric.dataset_meta["classes"],
            self.metric.dataset_meta["palette"],
            f"{self.name}: {self.title}",
            self.metric.ignore_index,
        )

    @property
    def title(self) -> str:
        """What is certified, in one line."""
        if "gt_sem_seg" in self.sample:
            return self.metric.title(self.entry)
        return f"certified {self._stable()}"

    @abstractmethod
    def _stable(self) -> str:
        """What is certified without labels."""

    @staticmethod
    def _one_norm(eps: float) -> float:
        if np.ndim(eps) != 0:
            raise ValueError(f"eps must be one number, got {eps}")
        return check_eps(eps)[0]

    def _certify(self, sample: SegDataSample) -> dict[str, Any]:
        return self.metric.certify(sample.to_dict())

    def _need_labels(self, what: str) -> None:
        if "gt_sem_seg" not in self.sample:
            raise ValueError(
                f"{what} needs labels: certify the image with target=; "
                "without them there are stability, robust_mask and radius"
            )

    def _labeled_sample(self, metric: str) -> SegDataSample:
        """The sample with labels; any will do where only stability is asked."""
        if metric != "stability":
            self._need_labels(metric)
        if "gt_sem_seg" in self.sample:
            return self.sample
        sample = self.sample.clone()
        # No label is ignored: every pixel counts.
        unknown = torch.zeros(self.labels.shape, dtype=torch.long)
        if self.metric.ignore_index == 0:
            unknown += 1
        sample.gt_sem_seg = PixelData(data=unknown[None])
        return sample

    def __repr__(self) -> str:
        height, width = self.labels.shape
        return f"{type(self).__name__}({self.name}: {self.title}, {height}x{width})"
