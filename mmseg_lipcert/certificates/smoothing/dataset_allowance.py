"""Wrong certificates that the figures of a dataset must reckon with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .binomial import p_value_table
from .metric_level import markov_count
from .settings import SmoothingSettings


@dataclass(frozen=True)
class DatasetAllowance:
    """How many certificates may be wrong, all limits at once.

    Attributes:
        pixels: Wrong certificates in the dataset, at most.
        per_class: Among the pixels labeled as a class, at most, shape (K,).
        per_image: In each image, at most; charged to it in means over images.
        image_share: Further mean over images of their share of the valid pixels, at most.
        class_share: Mean over classes with labels of their share of the labels, at most.
    """

    pixels: int
    per_class: np.ndarray
    per_image: np.ndarray
    image_share: float
    class_share: float

    @classmethod
    def none(cls, images: int, num_classes: int) -> DatasetAllowance:
        """Of a prediction that nobody attacks."""
        return cls(0, np.zeros(num_classes), np.zeros(images), 0.0, 0.0)

    @classmethod
    def of_pixels(cls, per_image: np.ndarray, num_classes: int) -> DatasetAllowance:
        """Of certified pixels: what the correction allows in each image, at any class.

        Args:
            per_image: Wrong certificates in each image, at most.
            num_classes: K.
        """
        pixels = int(per_image.sum())
        return cls(pixels, np.full(num_classes, float(pixels)), per_image, 0.0, 1.0)

    @classmethod
    def of_metrics(
        cls,
        settings: SmoothingSettings,
        tau: float,
        threshold: int,
        valid: np.ndarray,
        tested: np.ndarray,
        labels: np.ndarray,
    ) -> DatasetAllowance:
        """Of certified metrics: three events, each failing with a third of alpha.

        A tested pixel is a wrong certificate with probability at most q. So q bounds the expected
        share of wrong certificates among all tested pixels, its mean over images and its mean over
        classes; Markov's inequality holds each below q / (alpha / 3), however pixels depend. No
        class can exceed the sum of the shares, C q / (alpha / 3) for C classes with labels.

        Args:
            settings: What is claimed.
            tau: Probability claimed.
            threshold: Hits that certify a pixel.
            valid: Pixels with label per image, shape (I,).
            tested: Those of them that are tested, shape (I,).
            labels: Pixels labeled as each class, shape (K,).
        """
        chance = np.append(p_value_table(settings.n, tau), 0.0)[threshold]
        alpha = settings.alpha_per_event
        present, seen = int((labels > 0).sum()), valid > 0
        covered = float(np.mean(tested[seen] / valid[seen])) if seen.any() else 0.0
        return cls(
            pixels=markov_count(int(tested.sum()), chance, alpha),
            per_class=np.array(
                [markov_count(present * int(area), chance, alpha) for area in labels],
                dtype=np.float64,
            ),
            per_image=np.zeros(len(valid)),
            image_share=covered * chance / alpha,
            class_share=min(1.0, chance / alpha),
        )
