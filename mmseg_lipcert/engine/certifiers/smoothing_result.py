from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from ...certificates import SmoothingSettings, certified_labels, radius_map
from ...certificates.metrics import queried_metric
from ...certificates.smoothing import ClassHierarchy
from ...certificates.validation import check_eps, check_threshold
from ...utils.rounding import percent, significant
from .certified_result import CertifiedResult


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
    def hierarchy(self) -> ClassHierarchy | None:
        """Groups of classes that pixels fall back to."""
        return self.sample.smoothing["hierarchy"]

    @property
    def _selected(self) -> Tensor:
        return self.sample.smoothing_selected.data[0]

    @property
    def _hits(self) -> Tensor:
        return self.sample.smoothing_hits.data[0]

    @property
    def bound(self) -> None:
        """None: the guarantee rests on draws of noise."""

    @cached_property
    def radius(self) -> np.ndarray:
        """Norm (H, W) up to which a pixel keeps its class (all together); 0: nothing is proven."""
        radius = radius_map(self._hits, self.settings)
        if self.hierarchy is not None:
            # The root always holds, and says nothing.
            radius = radius.masked_fill(self._selected == self.hierarchy.abstain, 0.0)
        return radius.numpy(force=True)

    @cached_property
    def maps(self) -> dict[str, np.ndarray]:
        """``prediction`` (255: abstained), ``radius``, ``selected`` and ``hits``."""
        labels = certified_labels(self._selected, self._hits, self.settings, self.hierarchy)
        counts = np.uint16 if self.settings.n < 2**16 else np.int32
        return dict(
            prediction=labels.numpy(force=True).astype(np.uint8),
            radius=self._stored_radius,
            selected=self._selected.numpy(force=True).astype(np.uint16),
            hits=self._hits.numpy(force=True).astype(counts),
        )

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
            metric: One of ``certificates.QUERIES``: pixel_accuracy, stability, recall, mIoU, ...
            eps: One norm or several, at most the largest of ``settings.radii``. None: the first.
            class_index: The class, for a metric of one class.

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
            class_index: The class, for a metric of one class.

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
        found = queried_metric(metric, class_index, len(self.metric.dataset_meta["classes"]))
        rows = self._rows(metric)
        figures = (row["per_class"][class_index] if found.scope == "class" else row for row in rows)
        return {row["eps"]: figure[metric] for row, figure in zip(rows, figures, strict=True)}

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

    def _stable(self) -> str:
        return (
            f"at {significant(self.settings.radii[0])}: {percent(self.stability())} stable, "
            f"{percent(self.abstain, up=True)} abstain (black)"
        )
