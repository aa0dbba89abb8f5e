from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, is_main_process
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmseg_lipcert.certificates import vanishing_regions
from mmseg_lipcert.evaluation.metrics import LipschitzCertificateMetric, is_resized
from mmseg_lipcert.lipschitz import AuditError
from mmseg_lipcert.report import build_lipschitz_certificate, certificate_json
from mmseg_lipcert.visualization import save_curve_figure

from ..certification_error import CertificationError
from ..checks import check_lipschitz_model, use_full_precision
from ..image_maps import lipschitz_maps
from ..lipschitz_bounds import measured_bounds
from ..picture_titles import lipschitz_title
from ..picture_writer import PictureWriter
from .certification_method import CertificationMethod


class LipschitzMethod(CertificationMethod):
    """Deterministic certificates from an audited Lipschitz bound and native logits.

    The network is audited at the size of the first image; other sizes are audited on their own
    when they come. Reduced precision is switched off: it changes the map that is certified.
    """

    name = "lipschitz"
    headline = "Guaranteed under any l2 perturbation of norm eps (images in [0, 1])"
    metric_type = LipschitzCertificateMetric

    def __init__(self, *args) -> None:
        super().__init__(*args)
        check_lipschitz_model(self.model)
        if getattr(self.runner.test_loop, "fp16", False):
            raise CertificationError("certify in full precision: fp16 changes the certified map")
        use_full_precision()
        self.model.attach_bound = True
        self._warned = False

    def settings(self) -> dict[str, Any]:
        """What decides the numbers."""
        metric, query = self.metric, self.metric.region_query
        return {
            "eps": metric.eps,
            "thresholds": metric.thresholds,
            "shares": metric.shares,
            "vanish_share": query.vanish_share,
            "min_region_pixels": query.min_pixels,
            "fabricate_classes": list(query.fabricate_classes),
            "fabricate_pixels": query.fabricate_pixels,
        }

    def start(self, data_batch: dict, first: bool) -> None:
        """Check the images, and audit the network at the first one."""
        for image, sample in zip(data_batch["inputs"], data_batch["data_samples"], strict=True):
            if image.dtype != torch.uint8:
                raise CertificationError(
                    f"{sample.img_path}: eps is measured on images of 0 to 255, so that the test "
                    f"pipeline must give uint8, got {image.dtype}"
                )
            if not self._warned and is_resized(sample.metainfo):
                self._warned = True
                self.runner.logger.warning(
                    f"the test pipeline resizes {sample.img_path} from {sample.ori_shape} to "
                    f"{sample.img_shape}: eps is the norm of a perturbation of the resized image"
                )
        if first and not (self.store.folder / "audit.json").exists():
            self._audit(data_batch)

    def begin(self, void: Callable[[str], None]) -> None:
        """Keep what voids the folder."""
        self._void = void

    def finish(self) -> None:
        """Run the network again at the first image of each process: one map gives one answer."""
        reason = None
        try:
            self.model.require_unchanged()
        except AuditError as error:
            reason = str(error)
        if reason := next(filter(None, all_gather_object(reason)), None):
            self._void(reason)
            raise AuditError(reason)

    def maps(self, sample: BaseDataElement) -> dict[str, np.ndarray]:
        """Prediction, and radius of each pixel rounded down to float16."""
        return lipschitz_maps(sample)

    def draw(
        self,
        pictures: PictureWriter,
        entry: dict[str, Any],
        sample: BaseDataElement,
        image: Tensor,
        maps: dict[str, np.ndarray],
    ) -> None:
        """Draw the certificate of an image and, where there are any, its objects."""
        pictures.certificate(
            entry["image"],
            image,
            sample,
            maps["prediction"],
            maps["radius"],
            lipschitz_title(entry),
        )
        if entry["regions"] is None:
            return
        query = self.metric.region_query
        regions, numbers = vanishing_regions(
            sample.seg_logits.data,
            sample.gt_sem_seg.data[0],
            entry["lipschitz"],
            share=query.vanish_share,
            min_pixels=query.min_pixels,
            ignore_index=self.metric.ignore_index,
            classifier=sample.metainfo.get("classifier"),
        )
        pictures.regions(entry["image"], image, sample, regions, numbers, query.vanish_share)

    def report(
        self, entries: Sequence[dict[str, Any]], classes: Sequence[str], model: dict[str, str]
    ) -> dict[str, Any]:
        """The content of certificate.json."""
        return build_lipschitz_certificate(
            self.metric.summary,
            entries,
            json.loads((self.store.folder / "audit.json").read_text()),
            classes,
            model,
            vanish_share=self.metric.region_query.vanish_share,
            min_pixels=self.metric.region_query.min_pixels,
            seed=self.runner.seed,
        )

    def draw_summary(self, entries: Sequence[dict[str, Any]], certificate: dict[str, Any]) -> None:
        """Draw the curve of radius against share changed."""
        path = self.store.folder / "curve.png"
        save_curve_figure(path, [entry["curve"] for entry in entries], certificate["curve"])
        self.runner.logger.info(
            f"Share of the predictions that an attack can change drawn in {path}"
        )

    def _audit(self, data_batch: dict) -> None:
        model, logger = self.model, self.runner.logger
        inputs = model.data_preprocessor(copy.deepcopy(data_batch), False)["inputs"]
        size = tuple(inputs.shape[2:])
        started = time.perf_counter()
        audit = measured_bounds(model, inputs)
        network = model.lipschitz_audit(size)
        if is_main_process():
            self.store.write("audit.json", certificate_json(audit))
        logger.info(
            f"Lipschitz bound of the folded network at {size[0]}x{size[1]}: {network.upper:.6f} "
            f"(measured lower bound {network.lower:.4f}), "
            f"preprocessing {audit['preprocessing']:.4f}, "
            f"together {audit['bound']:.6f}; {time.perf_counter() - started:.1f} s"
        )
