from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ...certificates import Region
from ...certificates.regions import region_numbers
from ...evaluation.metrics import LipschitzCertificateMetric, is_resized
from ...lipschitz import require_unchanged
from ...models.segmentors import preprocessor_smallest_gain
from ...report import build_lipschitz_certificate
from ...visualization import save_curve_figure, save_object_figure, save_region_figure
from ..certification_error import CertificationError
from ..checks import check_lipschitz_model, use_full_precision
from .certifier import Certifier
from .lipschitz_result import LipschitzResult


class LipschitzCertifier(Certifier):
    """Deterministic certificates from an audited Lipschitz bound and native logits.

    The network is audited at the size of the first image; other sizes are audited on their own
    when they come. Reduced precision is switched off: it changes the map that is certified.
    """

    metric_type = LipschitzCertificateMetric
    metric_settings = ("eps", "object_classes", "vanish_share", "fabricate_pixels")
    exact = True
    method = "lipschitz"
    headline = "Guaranteed under any l2 perturbation of norm eps (images in [0, 1])"

    def __init__(self, model: nn.Module, metric: LipschitzCertificateMetric) -> None:
        super().__init__(model, metric)
        check_lipschitz_model(model)
        self._warned = False
        # The first image, preprocessed, and the network's answer.
        self._first: tuple[Tensor, Tensor] | None = None

    @classmethod
    def model_config(cls, model: dict, method: str, settings: dict[str, Any]) -> dict:
        """The segmentor itself, out of any noise."""
        return model.module if model.get("type") == "SmoothedSegmentor" else model

    def settings(self) -> dict[str, Any]:
        """What decides the numbers."""
        metric, query = self.metric, self.metric.region_query
        return {
            "eps": metric.eps,
            "thresholds": metric.thresholds,
            "shares": metric.shares,
            "vanish_share": query.vanish_share,
            "min_region_pixels": query.min_pixels,
            "object_classes": list(query.object_classes),
            "fabricate_pixels": query.fabricate_pixels,
            "fabricate_distance": query.fabricate_distance,
        }

    def with_eps(self, eps: float | Sequence[float] | None) -> LipschitzCertifier:
        """The same for other norms of the perturbation; None: those of the settings."""
        if eps is None:
            return self
        return LipschitzCertifier(self.model, self.metric.with_eps(eps))

    def check(self, image: Tensor, sample: BaseDataElement) -> None:
        """Refuse images that are not 0 to 255, and autocast; tell the first that is resized."""
        use_full_precision()
        if torch.is_autocast_enabled(next(self.model.parameters()).device.type):
            raise CertificationError(
                "the audited network runs in full precision: certify outside of autocast"
            )
        if image.dtype != torch.uint8:
            raise CertificationError(
                f"{sample.img_path}: eps is measured on images of 0 to 255, so that the test "
                f"pipeline must give uint8, got {image.dtype}"
            )
        if not self._warned and is_resized(sample.metainfo):
            self._warned = True
            MMLogger.get_current_instance().warning(
                f"the test pipeline resizes {sample.img_path} from {sample.ori_shape} to "
                f"{sample.img_shape}: eps is the norm of a perturbation of the resized image"
            )

    @torch.no_grad()
    def audit(self, data: dict[str, Any]) -> dict[str, float]:
        """Audit the network at the size of an image, with a lower bound measured there.

        Returns:
            ``bound``, from images in [0, 1] to the certified output: ``preprocessing * network``;
            ``lower_bound``, measured; ``preprocessing`` and ``network``.

        Raises:
            AuditError: If there is no bound, or the lower bound exceeds it.
        """
        started = time.perf_counter()
        inputs = self.model.data_preprocessor(copy.deepcopy(data), False)["inputs"]
        size = tuple(inputs.shape[2:])
        network = self.model.lipschitz_audit(size, samples=inputs[:1], steps=3)
        preprocessing = self.model.preprocessing_norm()
        self._first = inputs[:1], self.model.network(inputs[:1]).flatten()
        found = {
            "bound": preprocessing * network.upper,
            "lower_bound": preprocessor_smallest_gain(self.model.data_preprocessor) * network.lower,
            "preprocessing": preprocessing,
            "network": network.upper,
        }
        MMLogger.get_current_instance().info(
            f"Lipschitz bound of the folded network at {size[0]}x{size[1]}: {network.upper:.6f} "
            f"(measured lower bound {network.lower:.4f}), "
            f"preprocessing {preprocessing:.4f}, "
            f"together {found['bound']:.6f}; {time.perf_counter() - started:.1f} s"
        )
        return found

    def certify(self, sample: BaseDataElement, image: np.ndarray | None = None) -> LipschitzResult:
        """What no perturbation of an image can change: its prediction and the bound of its size."""
        evidence = {"lipschitz_bound": self.model.lipschitz_bound(sample.input_size)}
        if self.model.has_free_classifier:
            classifier = self.model.lipschitz_audit(sample.input_size).classifier
            evidence["classifier"] = classifier.to(sample.seg_logits.data.device)
        sample.set_metainfo(evidence)
        return LipschitzResult(sample, image, self.metric)

    def finish(self) -> None:
        """Run the network at the first image again."""
        require_unchanged(self.model.network, *self._first)

    def pictures(self, entry: dict[str, Any]) -> list[str]:
        """The certificate of an image and, where there are any, its objects."""
        objects = [] if entry["regions"] is None else [f"{entry['image']}_regions.png"]
        return [*super().pictures(entry), *objects]

    def draw(
        self,
        folder: Path,
        entry: dict[str, Any],
        maps: dict[str, np.ndarray],
        image: np.ndarray,
        target: np.ndarray,
    ) -> None:
        """Draw the certificate of an image and, where there are any, its objects."""
        super().draw(folder, entry, maps, image, target)
        if entry["regions"] is None:
            return
        query, classes = self.metric.region_query, self.metric.dataset_meta["classes"]
        certified = [c for c in range(len(classes)) if c != self.metric.ignore_index]
        numbers, _ = region_numbers(target, certified, query.min_pixels)
        regions = [
            Region(
                number=number,
                class_index=found["class"],
                pixels=found["pixels"],
                box=tuple(found["box"]),
                detected=found["detected"],
                budget=found["radius"] * entry["lipschitz"],
                radius=found["radius"],
            )
            for number, found in enumerate(entry["regions"], 1)
        ]
        save_region_figure(
            folder / f"{entry['image']}_regions.png",
            image,
            regions,
            numbers,
            target == self.metric.ignore_index,
            classes,
            query.vanish_share,
            entry["image"],
        )

    def report(
        self,
        entries: Sequence[dict[str, Any]],
        audit: dict[str, float],
        model: dict[str, str],
        seed: int | None,
    ) -> dict[str, Any]:
        """The content of certificate.json."""
        query = self.metric.region_query
        return build_lipschitz_certificate(
            self.metric.summarize(entries),
            entries,
            audit,
            self.metric.dataset_meta["classes"],
            model,
            query=query,
            seed=seed,
        )

    def draw_summary(
        self, path: Path, entries: Sequence[dict[str, Any]], certificate: dict[str, Any]
    ) -> None:
        """Draw the curve of radius against share changed, and of the objects that matter."""
        save_curve_figure(path, [entry["curve"] for entry in entries], certificate["curve"])
        query, classes = self.metric.region_query, self.metric.dataset_meta["classes"]
        if query.object_classes and certificate["fabrication"]:
            objects, images = (
                {
                    classes[c]: [
                        row["radius"]
                        for entry in entries
                        for row in entry[part]
                        if row["class"] == c
                    ]
                    for c in query.object_classes
                }
                for part in ("regions", "fabrication")
            )
            eps = [row["eps"] for row in certificate["certified"]]
            save_object_figure(path.with_name("objects.png"), objects, images, eps)
