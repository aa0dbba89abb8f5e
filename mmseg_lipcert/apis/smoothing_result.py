from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from mmseg_lipcert.certificates import METRICS, SmoothingSettings
from mmseg_lipcert.certificates.validation import (
    check_class_index,
    check_eps,
    check_threshold,
)
from mmseg_lipcert.engine.image_maps import smoothed_radius_map, smoothing_maps
from mmseg_lipcert.engine.picture_titles import smoothing_title
from mmseg_lipcert.utils.rounding import percent, significant

from .certified_result import CertifiedResult

# Figures of the image in a row of the summary; the others belong to a class.
_FIGURES = dict(
    pixel_accuracy="pixel_accuracy", stability="stability", macc="mAcc", miou="mIoU", mdice="mDice"
)


class SmoothingResult(CertifiedResult):
    """Guarantees about one image under noise, with probability ``1 - settings.alpha``.

    ``labels``, :meth:`worst_case` and :meth:`robustness_radius` come from tests at the radii of
    ``settings.radii``, one per tau. ``radius`` and :meth:`robust_mask` come from confidence
    intervals of every pixel. Each of the two statements holds with the probability by itself; to
    claim both, add their alphas.
    """

    @cached_property
    def settings(self) -> SmoothingSettings:
        """What is claimed, and from how many draws."""
        drawn = self.sample.smoothing
        return self.metric.settings_for(drawn["sigma"], drawn["n0"], drawn["n"])

    @property
    def bound(self) -> None:
        """None: the guarantee rests on draws of noise."""

    @cached_property
    def radius(self) -> np.ndarray:
        """Norm (H, W) up to which a pixel keeps its class (all together); 0: nothing is proven."""
        return smoothed_radius_map(self.sample, self.settings, self.metric.hierarchy)

    @cached_property
    def maps(self) -> dict[str, np.ndarray]:
        """``prediction`` (255: abstained), ``radius``, ``selected`` and ``hits``."""
        return smoothing_maps(self.sample, self.settings, self.metric.hierarchy)

    @property
    def abstain(self) -> float:
        """Share of all pixels without a certified label at the first radius."""
        return float((self.maps["prediction"] == 255).mean())

    def robust_mask(self, eps: float) -> np.ndarray:
        """Pixels (H, W) whose class is the same under any perturbation of norm ``eps``.

        Args:
            eps: l2 norm of the perturbation, images in [0, 1].
        """
        return (self.radius > 0) & (self.radius >= self._one_norm(eps))

    def worst_case(
        self,
        metric: str,
        eps: float | Sequence[float] | None = None,
        class_index: int | None = None,
    ) -> float | np.ndarray:
        """Value of a metric that no perturbation of norm ``eps`` can undercut.

        A norm below a tested radius gets the value at this radius, which is a lower bound.

        Args:
            metric: pixel_accuracy, stability, recall, specificity, iou, dice, macc, miou or mdice.
            eps: One norm or several, at most the largest of ``settings.radii``. None: the first.
            class_index: The class, for recall, specificity, iou and dice.

        Returns:
            A number for one norm, an array for several.

        Raises:
            ValueError: If labels are needed and none were given, for a norm that was not tested,
                or for a wrong argument.
        """
        values = self._values(metric, class_index)
        norms = check_eps(self.settings.radii[0] if eps is None else eps)
        worst = np.array([values[self._tested(norm)] for norm in norms])
        return float(worst[0]) if np.ndim(eps if eps is not None else 0) == 0 else worst

    def robustness_radius(
        self, metric: str, threshold: float, class_index: int | None = None
    ) -> float:
        """Largest tested radius at which a metric is guaranteed to stay >= a threshold.

        Args:
            metric: As in :meth:`worst_case`.
            threshold: The value to be guaranteed.
            class_index: The class, for recall, specificity, iou and dice.

        Returns:
            The radius, itself included; 0 if it is guaranteed at none, NaN for an undefined value.

        Raises:
            ValueError: If labels are needed and none were given, or for a wrong argument.
        """
        threshold, values = check_threshold(threshold), self._values(metric, class_index)
        if all(math.isnan(value) for value in values.values()):
            return math.nan
        return max((radius for radius, value in values.items() if value >= threshold), default=0.0)

    def _values(self, metric: str, class_index: int | None) -> dict[float, float]:
        """Guaranteed value at every tested radius."""
        if metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}: choose one of {', '.join(METRICS)}")
        rows = self._rows(metric)
        if metric in _FIGURES:
            if class_index is not None:
                raise ValueError(f"{metric} is not per class: drop class_index={class_index}")
            return {row["eps"]: row[_FIGURES[metric]] for row in rows}
        index = check_class_index(class_index, len(rows[0]["per_class"]), metric)
        return {row["eps"]: row["per_class"][index][metric] for row in rows}

    def _rows(self, metric: str) -> list[dict[str, Any]]:
        sample = self._labeled_sample(metric)
        entry = self.entry if sample is self.sample else self._certify(sample)
        return self.metric.summarize([entry])["certified"]

    def _tested(self, norm: float) -> float:
        """The smallest tested radius that covers a norm."""
        radii = [radius for radius in self.settings.radii if radius >= norm]
        if not radii:
            raise ValueError(
                f"eps={norm:g} is larger than the tested radii "
                f"{', '.join(f'{radius:.6g}' for radius in self.settings.radii)} "
                f"(sigma={self.settings.sigma:g}): a larger sigma or tau reaches further"
            )
        return min(radii)

    def _title(self) -> str:
        if self.target is not None:
            return smoothing_title(self._rows("pixel_accuracy")[0])
        return (
            f"certified at {significant(self.settings.radii[0])}: "
            f"{percent(self.stability())} stable, {percent(self.abstain, up=True)} abstain (black)"
        )
