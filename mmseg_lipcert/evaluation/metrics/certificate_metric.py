from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric


class CertificateMetric(BaseMetric):
    """Base of the certified metrics: a small entry per image, figures from the entries alone.

    It says what is certified: a certification (``CertificationHook``, ``CertifiedSegInferencer``)
    takes its settings, makes the entries by :meth:`certify` and the figures by :meth:`summarize`.
    As a metric of MMEngine it does the same for predictions that carry what a certificate rests on.

    Args:
        ignore_index: Label of ignored pixels. Defaults to 255.
        collect_device: ``'cpu'`` or ``'gpu'``. Defaults to ``'cpu'``.
        prefix: Prefix of the metric names. Defaults to ``'certified'``.
    """

    default_prefix = "certified"

    def __init__(
        self, ignore_index: int = 255, collect_device: str = "cpu", prefix: str | None = None
    ) -> None:
        super().__init__(collect_device, prefix)
        self.ignore_index = ignore_index

    @abstractmethod
    def certify(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Entry of one prediction with its labels.

        Args:
            sample: A predicted ``SegDataSample`` as a dictionary.

        Raises:
            ValueError: If the sample lacks what the certificate rests on.
        """

    @abstractmethod
    def summarize(self, entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Figures of the dataset from the entries of its images: ``clean`` and ``certified``."""

    @abstractmethod
    def title(self, entry: dict[str, Any]) -> str:
        """What is certified of an image, in one line."""

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Make the entries of one batch.

        Args:
            data_batch: Not used.
            data_samples: Predictions with their labels.
        """
        for sample in data_samples:
            self.results.append({**self.certify(sample), "image": sample["img_path"]})

    def compute_metrics(self, results: Sequence[dict]) -> dict[str, float]:
        """Combine the entries of all images; an image that is there twice counts once."""
        entries = {entry["image"]: entry for entry in results}
        return self.figures(self.summarize([entries[name] for name in sorted(entries)]))

    @staticmethod
    def figures(summary: dict[str, Any]) -> dict[str, float]:
        """The numbers of a summary by one name each, such as ``pixel_accuracy@0.1``."""
        figures = {
            f"clean_{key}": value
            for key, value in summary["clean"].items()
            if isinstance(value, float)
        }
        for row in summary["certified"]:
            figures.update(
                {
                    f"{key}@{row['eps']:g}": value
                    for key, value in row.items()
                    if key != "eps" and isinstance(value, float)
                }
            )
        return figures
