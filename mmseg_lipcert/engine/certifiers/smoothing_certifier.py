from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import ConfigDict
from mmengine.dist import broadcast_object_list, get_world_size
from mmengine.logging import MMLogger
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ...certificates.smoothing import noise_stream
from ...evaluation.metrics import SmoothingCertificateMetric
from ...models.denoisers import BaseDenoiser
from ...models.segmentors import SmoothedSegmentor, split_test_pipeline
from ...report import build_smoothing_certificate
from ...utils.rounding import confidence, significant
from ...utils.shipped import checkpoint_file
from ...visualization import save_accuracy_figure
from ..certification_error import CertificationError
from ..checks import file_digest
from ..run_settings import weights_digest
from .certifier import Certifier
from .smoothing_result import SmoothingResult


class SmoothingCertifier(Certifier):
    """Probabilistic certificates of a segmentor under Gaussian noise, with or without a denoiser.

    With ``noise_at='original'`` the dataset gives images at their original size, and what the test
    pipeline does to them runs behind the noise.
    """

    metric_type = SmoothingCertificateMetric
    model_settings = (
        *("sigma", "n0", "n", "draws_per_batch", "noise_at", "scale"),
        *("hierarchy", "shard_draws", "seed", "autocast", "channels_last", "compile", "budget"),
    )
    metric_settings = ("alpha", "tau", "correction", "k")
    exact = False

    def __init__(self, model: nn.Module, metric: SmoothingCertificateMetric) -> None:
        super().__init__(model, metric)
        if not isinstance(model, SmoothedSegmentor):
            raise CertificationError(
                f"{type(model).__name__} draws no noise: a smoothing certificate needs a "
                "SmoothedSegmentor, as --certify smoothing makes it"
            )
        self.statistics = metric.settings_for(model.sigma, model.n0, model.n)

    @classmethod
    def model_config(cls, model: dict, method: str, settings: dict[str, Any]) -> dict:
        """The segmentor under noise.

        ``denoiser`` is a config, a diffusers folder or file, or the name of a shipped one.
        """
        if model.get("type") != "SmoothedSegmentor":
            model = ConfigDict(type="SmoothedSegmentor", module=model)
        denoiser = settings.get("denoiser", model.get("denoiser"))
        if isinstance(denoiser, (str, os.PathLike)):
            denoiser = dict(type="DiffusersDenoiser", path=str(checkpoint_file(denoiser)))
        model.update(settings, denoiser=denoiser if method == "denoise" else None)
        return model

    @property
    def method(self) -> str:
        """``'denoise'`` with a denoiser, ``'smoothing'`` without."""
        return "smoothing" if self.model.denoiser is None else "denoise"

    @property
    def headline(self) -> str:
        """Title of the table of results."""
        radii = ", ".join(significant(radius) for radius in self.statistics.radii)
        whose = "" if self.statistics.correction == "metric" else ", for each image by itself,"
        return (
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

    def with_eps(self, eps: float | Sequence[float] | None) -> SmoothingCertifier:
        """The radii follow from sigma and tau.

        Raises:
            ValueError: If eps is given.
        """
        if eps is not None:
            radii = ", ".join(f"{radius:.6g}" for radius in self.statistics.radii)
            raise ValueError(
                f"eps={eps} cannot be chosen: sigma={self.model.sigma:g} and tau certify at {radii}"
            )
        return self

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

    def check_size(self, pixels: int) -> None:
        """Refuse images that so few draws cannot certify, and say where fewer would do."""
        try:
            self.statistics.check_floor(pixels)
        except ValueError as error:
            raise CertificationError(f"the largest image: {error}") from error
        n = self.statistics.plateau_start(pixels)
        if n < self.statistics.n:
            MMLogger.get_current_instance().info(
                f"--n {n} would allow as many misses as --n {self.statistics.n} at the strictest "
                "level, for less time (docs/smoothing.md, settings that pay)"
            )

    def fit_budget(self, images: Sequence[dict[str, Any]]) -> None:
        """Choose n from the time of a draw of the first image."""
        model, budget = self.model, self.model.budget
        if budget is None:
            return
        model.eval()
        image, sample = images[0]["inputs"], images[0]["data_samples"]
        seconds = [model.seconds_per_draw(image, sample)]
        broadcast_object_list(seconds)
        share = budget * get_world_size() / len(images)
        n = int(share / seconds[0]) - model.n0 - 1
        try:
            statistics = self.metric.settings_for(model.sigma, model.n0, n)
            pixels = math.prod(sample.ori_shape[:2])
            statistics.check_floor(pixels)
        except ValueError as error:
            raise CertificationError(
                f"a budget of {budget:g} s leaves {share:.3g} s for each of {len(images)} images, "
                f"and a draw takes {seconds[0]:.2g} s: {error}"
            ) from error
        model.n = statistics.plateau_start(pixels)
        self.statistics = self.metric.settings_for(model.sigma, model.n0, model.n)
        MMLogger.get_current_instance().info(
            f"A draw takes {seconds[0]:.2g} s: n={model.n} draws of {len(images)} images "
            f"within {budget:g} s; continue with --n {model.n} instead of --budget"
        )

    def check(self, image: Tensor, sample: BaseDataElement) -> None:
        """Refuse an image that so few draws cannot certify, or whose noise no denoiser knows."""
        denoiser = self.model.denoiser
        try:
            self.statistics.check_floor(sample.ori_shape[0] * sample.ori_shape[1])
            if isinstance(denoiser, BaseDenoiser):
                denoiser.check_sigma(self.model.sigma, tuple(image.shape[1:]))
        except ValueError as error:
            raise CertificationError(f"{sample.img_path}: {error}") from error

    def finish(self) -> None:
        """Repeat a draw of the first image."""
        self.model.finish()

    def begin(self, void: Callable[[str], None]) -> None:
        """Let the model void everything when its draws turn out to depend on each other."""
        self.model.void = void

    def certify(self, sample: BaseDataElement, image: np.ndarray | None = None) -> SmoothingResult:
        """What holds of an image under noise: its chosen classes and how often they were drawn."""
        return SmoothingResult(sample, image, self.metric)

    def report(
        self,
        entries: Sequence[dict[str, Any]],
        audit: dict[str, float],
        model: dict[str, str],
        seed: int | None,
    ) -> dict[str, Any]:
        """The content of certificate.json; its seed is that of the noise."""
        return build_smoothing_certificate(
            self.metric.summarize(entries),
            entries,
            self.statistics,
            self.metric.dataset_meta["classes"],
            model,
            method=self.method,
            noise_at=self.model.noise_at,
            hierarchy=self.model.hierarchy,
            seed=self.model.seed,
        )

    def draw_summary(
        self, path: Path, entries: Sequence[dict[str, Any]], certificate: dict[str, Any]
    ) -> None:
        """Draw certified accuracy against radius."""
        save_accuracy_figure(path, certificate)

    def model_parts(self) -> dict[str, str]:
        """Types of segmentor, its parts and the denoiser, its digest, and a lower precision."""
        parts = super().model_parts()
        if self.model.autocast is not None:
            parts["autocast"] = self.model.autocast
        if self.model.denoiser is not None:
            parts["denoiser"] = type(self.model.denoiser).__name__
            parts["denoiser_sha256"] = self.settings()["denoiser"]
        return parts
