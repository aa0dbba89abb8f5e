from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmseg_lipcert.evaluation.metrics import CertificateMetric

from ..certificate_store import CertificateStore
from ..picture_writer import PictureWriter


class CertificationMethod(ABC):
    """One kind of certificate: its checks, its maps and pictures, its report.

    Args:
        runner (Runner): The runner that tests.
        model (nn.Module): Its model, out of any distributed wrapper.
        metric (CertificateMetric): Its metric.
        store (CertificateStore): Where results are written.

    Raises:
        CertificationError: If model or settings cannot be certified by this method.
    """

    #: Name in certificates and on the command line.
    name: ClassVar[str]
    #: Title of the table of results.
    headline: ClassVar[str]
    #: The metric that makes the entries of this method.
    metric_type: ClassVar[type[CertificateMetric]]

    def __init__(
        self, runner: Runner, model: nn.Module, metric: CertificateMetric, store: CertificateStore
    ) -> None:
        self.runner = runner
        self.model = model
        self.metric = metric
        self.store = store

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

    def prepare(self, dataset: Dataset) -> None:  # noqa: B027 - most methods need nothing
        """Adapt model and dataset before any image is read."""

    @property
    def num_classes(self) -> int:
        """Number of classes of the segmentor."""
        return self.segmentor.num_classes

    def check_size(self, pixels: int) -> None:  # noqa: B027 - most methods take any size
        """Refuse images that the settings cannot certify.

        Args:
            pixels: Number of pixels of the largest image.

        Raises:
            CertificationError: Saying which settings would do.
        """

    def begin(self, void: Callable[[str], None]) -> None:  # noqa: B027
        """Note that the first image is about to come.

        Args:
            void: To be called with the reason if everything certified so far turns out wrong.
        """

    def finish(self) -> None:  # noqa: B027
        """Last checks behind the last image, in every process.

        Raises:
            UserError: If no certificate can be given.
        """

    def start(self, data_batch: dict, first: bool) -> None:  # noqa: B027
        """Check a batch before the work on it.

        Args:
            data_batch: Images and samples as the dataloader gives them.
            first: Whether it is the first batch of this process.
        """

    @abstractmethod
    def maps(self, sample: BaseDataElement) -> dict[str, np.ndarray]:
        """What is stored of each pixel of a finished image, at its original size."""

    @abstractmethod
    def draw(
        self,
        pictures: PictureWriter,
        entry: dict[str, Any],
        sample: BaseDataElement,
        image: Tensor,
        maps: dict[str, np.ndarray],
    ) -> None:
        """Draw the pictures of a finished image.

        Args:
            pictures: What writes them.
            entry: Its certificate.
            sample: Its prediction and labels.
            image: Its pixels as the dataset gives them, 0..255.
            maps: Of :meth:`maps`.
        """

    @abstractmethod
    def report(
        self, entries: Sequence[dict[str, Any]], classes: Sequence[str], model: dict[str, str]
    ) -> dict[str, Any]:
        """The content of certificate.json.

        Args:
            entries: Of all images.
            classes: Names of the classes.
            model: What was certified.
        """

    def model_parts(self) -> dict[str, str]:
        """Types of the segmentor and its parts, for the report."""
        parts = dict(
            type=self.segmentor,
            backbone=getattr(self.segmentor, "backbone", None),
            decode_head=getattr(self.segmentor, "decode_head", None),
        )
        return {name: type(part).__name__ for name, part in parts.items() if part is not None}

    def draw_summary(self, entries: Sequence[dict[str, Any]], certificate: dict[str, Any]) -> None:  # noqa: B027
        """Draw the pictures of the whole dataset into the folder of the results."""
