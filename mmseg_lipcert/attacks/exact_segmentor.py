from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor

from mmseg_lipcert.certificates import predicted_labels
from mmseg_lipcert.certificates.cells import cell_indices, repeat_labels
from mmseg_lipcert.evaluation.metrics import LipschitzCertificateMetric
from mmseg_lipcert.models.segmentors import LipEncoderDecoder, preprocessor_norm

from .counts import label_counts, refuted


class ExactSegmentor:
    """A Lipschitz segmentor in float64: the judge between an attack and a certificate.

    A certificate is a statement about real numbers. In float32 a logit is rounded by about 1e-6 of
    its size, which may flip a pixel whose two best classes are closer than that. In float64 with
    the same (folded float32) weights the rounding is 1e-15: an attack that still wins refutes the
    certificate.

    Args:
        segmentor: In evaluation mode.
    """

    def __init__(self, segmentor: LipEncoderDecoder) -> None:
        # Whatever preprocessor this accepts computes what `_logits` does.
        preprocessor_norm(segmentor.data_preprocessor)
        self.segmentor = segmentor
        self.network = copy.deepcopy(segmentor.network).double()

    @torch.no_grad()
    def judge(
        self, image: Tensor, delta: Tensor, target: Tensor, eps: float, img_shape: tuple[int, int]
    ) -> tuple[list[str], float]:
        """Metrics that a perturbation pushes below their certified values, all in float64.

        Args:
            image: (3, H, W) in [0, 1], as the pipeline gives it to the preprocessor.
            delta: Perturbation (3, H, W); its own norm counts where it exceeds ``eps``.
            target: Labels (H0, W0).
            eps: Norm for which the certificate is asked.
            img_shape: Size of the image in front of the network.

        Returns:
            The names of ``counts.refuted``, and the norm of ``delta`` in float64.
        """
        norm = delta.double().norm().item()
        clean, attacked = (
            self._logits(pixels) for pixels in (image.double(), image.double() + delta.double())
        )
        entry = self._certificate(clean, target, [max(eps, norm)], (), img_shape)
        labels, before = (self._labels(z, target.shape, img_shape) for z in (attacked, clean))
        counts = label_counts(labels, before, target, max(2, len(clean)), self._ignored)
        return refuted(entry, 0, counts), norm

    @torch.no_grad()
    def judge_radius(
        self,
        image: Tensor,
        delta: Tensor,
        target: Tensor,
        threshold: float,
        img_shape: tuple[int, int],
    ) -> bool:
        """Whether a perturbation shorter than the certified radius undercuts a pixel accuracy."""
        clean, attacked = (
            self._logits(pixels) for pixels in (image.double(), image.double() + delta.double())
        )
        entry = self._certificate(clean, target, [0.0], [threshold], img_shape)
        valid = target != self._ignored
        correct = (self._labels(attacked, target.shape, img_shape) == target)[valid]
        reached = correct.sum().item() / correct.numel() < threshold
        return reached and delta.double().norm().item() < entry["radius"][0]["value"]

    @property
    def _ignored(self) -> int:
        return self.segmentor.decode_head.ignore_index

    def _logits(self, image: Tensor) -> Tensor:
        preprocessor = self.segmentor.data_preprocessor
        pixels = 255 * image[[2, 1, 0]] if preprocessor._channel_conversion else 255 * image
        if preprocessor._enable_normalize:
            pixels = (pixels - preprocessor.mean.double()) / preprocessor.std.double()
        logits = self.network(pixels.unsqueeze(0))[0]
        if len(logits) == 1:
            threshold = self.segmentor.decode_head.threshold
            logits = logits - math.log(threshold / (1 - threshold))
        return logits

    def _labels(self, logits: Tensor, size: torch.Size, img_shape: tuple[int, int]) -> Tensor:
        rows, columns = (
            cell_indices(original, resized, self.segmentor.logit_stride)
            for original, resized in zip(size, img_shape, strict=True)
        )
        return repeat_labels(predicted_labels(logits), rows, columns)

    def _certificate(
        self, logits: Tensor, target: Tensor, eps: list[float], thresholds, img_shape
    ) -> dict[str, Any]:
        metric = LipschitzCertificateMetric(
            eps,
            thresholds,
            shares=(),
            min_region_pixels=target.numel() + 1,
            ignore_index=self._ignored,
        )
        classifier = self.segmentor.lipschitz_audit(tuple(img_shape)).classifier
        bound = self.segmentor.lipschitz_bound(tuple(img_shape))
        stride = self.segmentor.logit_stride
        return metric.calculate(logits, target, bound, img_shape, stride, classifier)
