from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn.functional import one_hot

from ..certificates import predicted_labels
from ..certificates.cells import cell_indices, repeat_labels
from ..engine.certifiers import LipschitzCertifier
from ..evaluation.metrics import LipschitzCertificateMetric
from ..models.segmentors import LipEncoderDecoder, preprocessor_norm
from .counts import label_counts, refuted
from .objectives import QuotaObjective


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
        # Whatever preprocessor this accepts computes what `_sample` does.
        preprocessor_norm(segmentor.data_preprocessor)
        self.segmentor = segmentor
        self.network = copy.deepcopy(segmentor.network).double()
        self.lipschitz_bound = segmentor.lipschitz_bound
        self.lipschitz_audit = segmentor.lipschitz_audit
        self.has_free_classifier = segmentor.has_free_classifier

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
        clean = self._sample(image.double(), target, img_shape)
        attacked = self._sample(image.double() + delta.double(), target, img_shape)
        metric = compared_metric([max(eps, norm)], (), self._ignored)
        entry = LipschitzCertifier(self, metric).certify(clean).entry
        before, labels = (sample.pred_sem_seg.data[0] for sample in (clean, attacked))
        classes = max(2, len(clean.seg_logits.data))
        counts = label_counts(labels, before, target, classes, self._ignored)
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
        clean = self._sample(image.double(), target, img_shape)
        attacked = self._sample(image.double() + delta.double(), target, img_shape)
        metric = compared_metric([0.0], [threshold], self._ignored)
        entry = LipschitzCertifier(self, metric).certify(clean).entry
        valid = target != self._ignored
        correct = (attacked.pred_sem_seg.data[0] == target)[valid]
        reached = correct.sum().item() / correct.numel() < threshold
        return reached and delta.double().norm().item() < entry["radius"][0]["value"]

    @torch.no_grad()
    def judge_region(
        self,
        image: Tensor,
        delta: Tensor,
        target: Tensor,
        objective: QuotaObjective,
        radius_of: Callable[[dict[str, Any]], float],
        metric: LipschitzCertificateMetric,
        img_shape: tuple[int, int],
    ) -> bool:
        """Whether a perturbation shorter than the certified radius fills an objective's quota.

        Args:
            image: (3, H, W) in [0, 1].
            delta: Perturbation (3, H, W).
            target: Labels (H0, W0).
            objective: Of this image.
            radius_of: Finds the certified radius in an entry.
            metric: What makes the entry.
            img_shape: Size of the image in front of the network.
        """
        clean = self._sample(image.double(), target, img_shape)
        attacked = self._sample(image.double() + delta.double(), target, img_shape)
        entry = LipschitzCertifier(self, metric).certify(clean).entry
        labels = attacked.pred_sem_seg.data[0].long()
        votes = one_hot(labels, max(2, len(clean.seg_logits.data))).permute(2, 0, 1)[None]
        reached = objective.score(votes.double()).item() == 0
        return reached and delta.double().norm().item() < radius_of(entry)

    @property
    def _ignored(self) -> int:
        return self.segmentor.decode_head.ignore_index

    def _sample(self, image: Tensor, target: Tensor, img_shape: tuple[int, int]) -> SegDataSample:
        """The segmentor's prediction for an image (3, H, W), in float64."""
        preprocessor = self.segmentor.data_preprocessor
        pixels = 255 * image[[2, 1, 0]] if preprocessor._channel_conversion else 255 * image
        if preprocessor._enable_normalize:
            pixels = (pixels - preprocessor.mean.double()) / preprocessor.std.double()
        logits = self.network(pixels.unsqueeze(0))[0]
        if len(logits) == 1:
            threshold = self.segmentor.decode_head.threshold
            logits = logits - math.log(threshold / (1 - threshold))
        stride = self.segmentor.logit_stride
        rows, columns = (
            cell_indices(original, resized, stride)
            for original, resized in zip(target.shape, img_shape, strict=True)
        )
        labels = repeat_labels(predicted_labels(logits), rows, columns)
        return SegDataSample(
            seg_logits=PixelData(data=logits),
            pred_sem_seg=PixelData(data=labels[None]),
            gt_sem_seg=PixelData(data=target[None]),
            metainfo=dict(
                image_name="judged",
                ori_shape=tuple(target.shape),
                img_shape=img_shape,
                input_size=img_shape,
                logit_stride=stride,
            ),
        )


def compared_metric(
    eps: Sequence[float],
    thresholds: Sequence[float],
    ignore_index: int,
    min_region_pixels: int = sys.maxsize,
    **regions: Any,
) -> LipschitzCertificateMetric:
    """What certificates are asked for that attacks are compared with; by default no objects."""
    return LipschitzCertificateMetric(
        eps,
        thresholds,
        shares=(),
        min_region_pixels=min_region_pixels,
        ignore_index=ignore_index,
        **regions,
    )
