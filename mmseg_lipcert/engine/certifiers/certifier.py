from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ...evaluation.metrics import CertificateMetric
from ...visualization import save_certificate_figure
from .certified_result import CertifiedResult


class Certifier(ABC):
    """One kind of certificate: from the predictions of a model to what is guaranteed of its images.

    It knows model and settings, neither a runner nor a folder: the certification hook and the
    Python API drive it. Per image: :meth:`check`, the model's ``test_step``, :meth:`certify`.

    Args:
        model: The model, out of any distributed wrapper, in evaluation mode.
        metric: What is to be certified; its ``dataset_meta`` names the classes.

    Raises:
        CertificationError: If the model cannot be certified like this.
    """

    #: The metric that says what is to be certified.
    metric_type: ClassVar[type[CertificateMetric]]
    #: Settings by name that belong to the model's config, and those of the metric's.
    model_settings: ClassVar[tuple[str, ...]] = ()
    metric_settings: ClassVar[tuple[str, ...]] = ()
    #: Whether the pipeline must leave the image as it is: the certificate is about its pixels.
    exact: ClassVar[bool]

    def __init__(self, model: nn.Module, metric: CertificateMetric) -> None:
        self.model = model
        self.metric = metric

    @classmethod
    @abstractmethod
    def model_config(cls, model: dict, method: str, settings: dict[str, Any]) -> dict:
        """Config of the model that is certified by a method.

        Args:
            model: Config of a segmentor, or of what an earlier call made of it.
            method: Name of a method of this certifier.
            settings: New settings of the model by name; the config's others are kept.
        """

    @property
    @abstractmethod
    def method(self) -> str:
        """Name of the method in certificates and on the command line."""

    @property
    @abstractmethod
    def headline(self) -> str:
        """Title of the table of results."""

    @property
    def segmentor(self) -> nn.Module:
        """The segmentor that the checkpoint fills."""
        return self.model

    @property
    def shared_images(self) -> bool:
        """Whether all processes work on every image together instead of each on its own images."""
        return False

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides the numbers, as JSON; a resumed certification must have the same."""

    def pipeline(self, transforms: Sequence[dict]) -> list[dict]:
        """Transforms of a test pipeline that run in front of the model; the model gets the others.

        Raises:
            CertificationError: If one of them cannot run where it would have to.
        """
        return list(transforms)

    def fit_budget(self, images: Sequence[dict[str, Any]]) -> None:  # noqa: B027
        """Choose the settings that a budget of time leaves open, in every process alike.

        Args:
            images: What will be certified: ``inputs`` and ``data_samples`` of each image.

        Raises:
            CertificationError: If the budget allows too little.
        """

    def check_size(self, pixels: int) -> None:  # noqa: B027 - most kinds take any size
        """Refuse images that the settings cannot certify.

        Args:
            pixels: Number of pixels of the largest image.

        Raises:
            CertificationError: Saying which settings would do.
        """

    def check(self, image: Tensor, sample: BaseDataElement) -> None:  # noqa: B027
        """Refuse an image that cannot be certified, before the model sees it.

        Args:
            image: What enters the data preprocessor (3, h, w).
            sample: Its sample, without a prediction.

        Raises:
            CertificationError: Naming the image.
        """

    def audit(self, data: dict[str, Any]) -> dict[str, float]:
        """What is found out once, at the first image, before any certificate; empty for nothing.

        Args:
            data: The first image and its sample, as a dataloader gives them.

        Raises:
            AuditError: If nothing can be certified.
        """
        return {}

    def begin(self, void: Callable[[str], None]) -> None:  # noqa: B027
        """Note that the first image is about to come.

        Args:
            void: To be called with the reason if everything certified so far turns out wrong.
        """

    def finish(self) -> None:  # noqa: B027
        """Look behind the last image whether the model still answers as at the first one.

        Raises:
            AuditError | ValueError: If it does not: what was certified is void.
        """

    def forget(self) -> None:
        """Forget what was found out about the model's weights: they have changed."""
        self.model.train()
        self.model.eval()

    @abstractmethod
    def certify(self, sample: BaseDataElement, image: np.ndarray | None = None) -> CertifiedResult:
        """What is guaranteed of a predicted image.

        Args:
            sample: Of the model's ``test_step``, with labels or without.
            image: Pixels (H, W, 3), RGB; only pictures need them.
        """

    def with_eps(self, eps: float | Sequence[float] | None) -> Certifier:
        """The same for other norms of the perturbation; None: those of the settings.

        Raises:
            ValueError: If they cannot be chosen, or are negative or not finite.
        """
        return self

    def pixels(self, image: Tensor) -> np.ndarray:
        """RGB pixels (H, W, 3) of what enters the data preprocessor (3, h, w)."""
        pixels = image.permute(1, 2, 0).numpy(force=True)
        return pixels[..., ::-1] if self.segmentor.data_preprocessor._channel_conversion else pixels

    def pictures(self, entry: dict[str, Any]) -> list[str]:
        """Names of the pictures that :meth:`draw` makes of an image."""
        return [f"{entry['image']}.png"]

    def draw(
        self,
        folder: Path,
        entry: dict[str, Any],
        maps: dict[str, np.ndarray],
        image: np.ndarray,
        target: np.ndarray,
    ) -> None:
        """Draw the pictures of an image from what is stored of it.

        Args:
            folder: Where they are written.
            entry: Of the image.
            maps: Of the image.
            image: Pixels (H, W, 3), RGB.
            target: Labels (H, W).
        """
        meta = self.metric.dataset_meta
        save_certificate_figure(
            folder / f"{entry['image']}.png",
            image,
            target,
            maps["prediction"],
            maps["radius"],
            meta["classes"],
            meta["palette"],
            f"{entry['image']}: {self.metric.title(entry)}",
            self.metric.ignore_index,
        )

    @abstractmethod
    def report(
        self,
        entries: Sequence[dict[str, Any]],
        audit: dict[str, float],
        model: dict[str, str],
        seed: int | None,
    ) -> dict[str, Any]:
        """The content of certificate.json.

        Args:
            entries: Of all images, by name.
            audit: Of :meth:`audit`.
            model: What was certified.
            seed: Of the run.
        """

    @abstractmethod
    def draw_summary(
        self, path: Path, entries: Sequence[dict[str, Any]], certificate: dict[str, Any]
    ) -> None:
        """Draw the curve of the whole dataset into a PNG."""

    def model_parts(self) -> dict[str, str]:
        """Types of the segmentor and its parts, for the report."""
        parts = dict(
            type=self.segmentor,
            backbone=getattr(self.segmentor, "backbone", None),
            decode_head=getattr(self.segmentor, "decode_head", None),
        )
        return {name: type(part).__name__ for name, part in parts.items() if part is not None}
