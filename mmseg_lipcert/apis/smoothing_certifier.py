from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmseg_lipcert.engine import CertificationError
from mmseg_lipcert.evaluation.metrics import SmoothingCertificateMetric
from mmseg_lipcert.models.segmentors import SmoothedSegmentor, split_test_pipeline

from .smoothing_result import SmoothingResult


class SmoothingCertifier:
    """Certifies single images by draws of noise, with or without a denoiser.

    Args:
        model (SmoothedSegmentor): The smoothed segmentor.
        metric (SmoothingCertificateMetric): What makes the figures.
    """

    #: The noise comes before what changes the image, unless it was asked for behind it.
    exact = False

    def __init__(self, model: SmoothedSegmentor, metric: SmoothingCertificateMetric) -> None:
        metric.hierarchy = model.hierarchy
        model.image_root = metric.image_root
        self.model = model
        self.metric = metric
        self.settings = metric.settings_for(model.sigma, model.n0, model.n)

    def pipeline(self, transforms: Sequence[dict]) -> list[dict]:
        """Transforms in front of the noise; the model gets the others.

        Raises:
            CertificationError: If one of them is not known to be exact on noisy images.
        """
        if self.model.noise_at == "network":
            return list(transforms)
        try:
            in_front, self.model.transforms = split_test_pipeline(transforms)
        except ValueError as error:
            raise CertificationError(str(error)) from error
        return in_front

    def forget(self) -> None:
        """Forget what was found out about the model's weights: nothing is."""

    def certify(
        self, data: dict[str, Any], image: np.ndarray, eps: float | Sequence[float] | None
    ) -> SmoothingResult:
        """Certify one image.

        Args:
            data: Image and sample as a dataloader gives them.
            image: Pixels (H, W, 3), RGB, for pictures.
            eps: Must be None: sigma and tau decide the radii.

        Raises:
            CertificationError: If so few draws can certify nothing, or logits are not finite.
            ValueError: If eps is given.
        """
        if eps is not None:
            radii = ", ".join(f"{radius:.6g}" for radius in self.settings.radii)
            raise ValueError(
                f"eps={eps} cannot be chosen: sigma={self.model.sigma:g} and tau certify at {radii}"
            )
        (sample,) = data["data_samples"]
        try:
            self.settings.check_floor(math.prod(sample.ori_shape[:2]))
            (sample,) = self.model.test_step(data)
        except ValueError as error:
            raise CertificationError(f"{sample.img_path}: {error}") from error
        return SmoothingResult(sample.cpu(), image, self.metric)
