from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from mmseg_lipcert.certificates.validation import check_eps
from mmseg_lipcert.engine import CertificationError
from mmseg_lipcert.engine.checks import check_lipschitz_model, use_full_precision
from mmseg_lipcert.engine.lipschitz_bounds import measured_bounds
from mmseg_lipcert.evaluation.metrics import LipschitzCertificateMetric

from .lipschitz_result import LipschitzResult


class LipschitzCertifier:
    """Certifies single images by an audited Lipschitz bound and native logits.

    As in a certification of a dataset, the network is audited at the size of every image, and at
    the first image its bound is compared with what is measured there.

    Args:
        model (nn.Module): A ``LipEncoderDecoder``.
        metric (LipschitzCertificateMetric): What makes the figures.

    Raises:
        CertificationError: If the model does not know its bound.
    """

    #: The certificate is about the image that is given, so that the pipeline must not change it.
    exact = True

    def __init__(self, model: nn.Module, metric: LipschitzCertificateMetric) -> None:
        check_lipschitz_model(model)
        model.attach_bound = True
        self.model = model
        self.metric = metric
        self._measured = False

    def pipeline(self, transforms: Sequence[dict]) -> list[dict]:
        """Transforms in front of the model: all of them."""
        return list(transforms)

    def forget(self) -> None:
        """Forget what was found out about the model's weights."""
        self._measured = False

    def certify(
        self, data: dict[str, Any], image: np.ndarray, eps: float | Sequence[float] | None
    ) -> LipschitzResult:
        """Certify one image.

        Args:
            data: Image and sample as a dataloader gives them.
            image: Pixels (H, W, 3), RGB, for pictures.
            eps: Norms of the perturbation; None: those of the metric.

        Raises:
            AuditError: If the model has no Lipschitz bound.
            CertificationError: If its weights or logits are not finite.
            ValueError: If an eps is negative or not finite.
        """
        metric = copy.copy(self.metric)
        if eps is not None:
            metric.eps = check_eps(eps)
        use_full_precision()
        (sample,) = data["data_samples"]
        try:
            if not self._measured:
                inputs = self.model.data_preprocessor(copy.deepcopy(data), False)["inputs"]
                measured_bounds(self.model, inputs)
                self._measured = True
            (sample,) = self.model.test_step(data)
        except ValueError as error:
            raise CertificationError(f"{sample.img_path}: {error}") from error
        sample = sample.cpu()
        if "classifier" in sample.metainfo:
            sample.set_metainfo(dict(classifier=sample.classifier.cpu()))
        return LipschitzResult(sample, image, metric)
