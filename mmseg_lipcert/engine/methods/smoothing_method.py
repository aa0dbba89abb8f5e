from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import Compose
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmseg_lipcert.certificates.smoothing import noise_stream
from mmseg_lipcert.evaluation.metrics import SmoothingCertificateMetric
from mmseg_lipcert.models.segmentors import SmoothedSegmentor, split_test_pipeline
from mmseg_lipcert.report import build_smoothing_certificate
from mmseg_lipcert.utils.rounding import confidence, significant
from mmseg_lipcert.visualization import save_accuracy_figure

from ..certification_error import CertificationError
from ..checks import file_digest
from ..image_maps import smoothing_maps
from ..picture_titles import smoothing_title
from ..picture_writer import PictureWriter
from ..run_settings import weights_digest
from .certification_method import CertificationMethod


class SmoothingMethod(CertificationMethod):
    """Probabilistic certificates of a segmentor under Gaussian noise, with or without a denoiser.

    With ``noise_at='original'`` the dataset gives images at their original size, and what the test
    pipeline does to them runs behind the noise.
    """

    name = "smoothing"
    metric_type = SmoothingCertificateMetric

    def __init__(self, *args) -> None:
        super().__init__(*args)
        if not isinstance(self.model, SmoothedSegmentor):
            raise CertificationError(
                f"{type(self.model).__name__} draws no noise: a smoothing certificate needs a "
                "SmoothedSegmentor, as --certify smoothing makes it"
            )
        if getattr(self.runner.test_loop, "fp16", False):
            raise CertificationError(
                "the test loop's fp16 is not recorded; use the segmentor's autocast='float16'"
            )
        self.metric.hierarchy = self.model.hierarchy
        self.statistics = self.metric.settings_for(self.model.sigma, self.model.n0, self.model.n)
        if self.model.denoiser is not None:
            self.name = "denoise"
        radii = ", ".join(significant(radius) for radius in self.statistics.radii)
        whose = "" if self.statistics.correction == "metric" else ", for each image by itself,"
        self.headline = (
            f"Guaranteed under any l2 perturbation of norm {radii} (images in [0, 1]){whose} "
            f"with probability {confidence(self.statistics.alpha)}"
        )

    @property
    def segmentor(self) -> nn.Module:
        """The segmentor that is smoothed."""
        return self.model.module

    @property
    def shared_images(self) -> bool:
        """Whether processes share the draws of each image."""
        return self.model.shard_draws

    def settings(self) -> dict[str, Any]:
        """What decides the numbers; the batch size and the number of processes do not."""
        model, hierarchy, options = self.model, self.model.hierarchy, self.metric.options
        return {
            "sigma": model.sigma,
            "n0": model.n0,
            "n": model.n,
            "noise_at": model.noise_at,
            "scale": model.scale,
            "seed": model.seed,
            "autocast": model.autocast,
            "noise": noise_stream(model.device),
            "hierarchy": hierarchy
            and {
                "share": hierarchy.share,
                # Pairs, whose order counts when settings are compared: it numbers the vertices.
                "levels": [list(level.items()) for level in hierarchy.levels],
            },
            "denoiser": model.denoiser
            and (file_digest(model.denoiser) or weights_digest(model.denoiser.state_dict())),
            **{**options, "taus": list(options["taus"])},
        }

    def prepare(self, dataset: Dataset) -> None:
        """Let the noise come before the resizing of the test pipeline."""
        self.model.image_root = self.metric.image_root
        if self.model.noise_at == "network":
            return
        pipeline = self.runner.cfg.test_dataloader.dataset.pipeline
        try:
            in_front, behind = split_test_pipeline(pipeline)
        except ValueError as error:
            raise CertificationError(str(error)) from error
        dataset.pipeline = Compose(in_front)
        self.model.transforms = behind

    def check_size(self, pixels: int) -> None:
        """Refuse images that so few draws cannot certify."""
        try:
            self.statistics.check_floor(pixels)
        except ValueError as error:
            raise CertificationError(f"the largest image: {error}") from error

    def begin(self, void: Callable[[str], None]) -> None:
        """Let the model void the folder when its draws turn out to depend on each other."""
        self.model.void = void

    def finish(self) -> None:
        """Repeat a draw of the first image."""
        self.model.finish()

    def maps(self, sample: BaseDataElement) -> dict[str, np.ndarray]:
        """Certified labels (255: abstained), radius of each pixel, choices and their hits."""
        return smoothing_maps(sample, self.statistics, self.model.hierarchy)

    def draw(
        self,
        pictures: PictureWriter,
        entry: dict[str, Any],
        sample: BaseDataElement,
        image: Tensor,
        maps: dict[str, np.ndarray],
    ) -> None:
        """Draw the certificate of an image; pixels that abstain are black."""
        (row, *_) = self.metric.summarize([entry])["certified"]
        pictures.certificate(
            entry["image"],
            image,
            sample,
            maps["prediction"],
            maps["radius"],
            smoothing_title(row),
        )

    def report(
        self, entries: Sequence[dict[str, Any]], classes: Sequence[str], model: dict[str, str]
    ) -> dict[str, Any]:
        """The content of certificate.json."""
        return build_smoothing_certificate(
            self.metric.summary,
            entries,
            self.statistics,
            classes,
            model,
            method=self.name,
            noise_at=self.model.noise_at,
            hierarchy=self.model.hierarchy,
            seed=self.model.seed,
        )

    def model_parts(self) -> dict[str, str]:
        """Types of segmentor, its parts and the denoiser, and the digest of its weights."""
        parts = super().model_parts()
        if self.model.denoiser is not None:
            parts["denoiser"] = type(self.model.denoiser).__name__
            parts["denoiser_sha256"] = self.settings()["denoiser"]
        return parts

    def draw_summary(self, entries: Sequence[dict[str, Any]], certificate: dict[str, Any]) -> None:
        """Draw certified accuracy against radius."""
        path = self.store.folder / "curve.png"
        save_accuracy_figure(path, certificate)
        self.runner.logger.info(f"Certified accuracy against radius drawn in {path}")
