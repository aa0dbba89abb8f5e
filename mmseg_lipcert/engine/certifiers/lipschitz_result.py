from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from ...certificates import flip_costs, robustness_radius, worst_case
from ...certificates.budget import squared_budget
from ...certificates.cells import cell_indices, native_cells, native_target, repeat_labels
from ...certificates.image_problem import ImageProblem
from ...certificates.pixel_maps import PixelMaps
from ...certificates.regions import change_radius
from ...certificates.validation import check_class_index
from ...utils.rounding import percent, significant
from .certified_result import CertifiedResult


class LipschitzResult(CertifiedResult):
    """Certain guarantees about one image, for every eps at once.

    ``eps`` of :meth:`worst_case` are by default those that the image was certified with.
    """

    @property
    def eps(self) -> list[float]:
        """Norms that the image was certified with."""
        return self.metric.eps

    @property
    def bound(self) -> float:
        """Lipschitz bound from images in [0, 1] to the certified output."""
        return self.sample.lipschitz_bound

    @cached_property
    def radius(self) -> np.ndarray:
        """Norm (H, W) below which no perturbation changes the prediction of a pixel."""
        meta = self.sample.metainfo
        costs = flip_costs(self.sample.seg_logits.data, classifier=meta.get("classifier"))
        rows, columns = (
            cell_indices(original, resized, meta["logit_stride"])
            for original, resized in zip(meta["ori_shape"], meta["img_shape"], strict=True)
        )
        return repeat_labels(costs / self.bound, rows, columns).numpy(force=True)

    @cached_property
    def maps(self) -> dict[str, np.ndarray]:
        """``prediction``, and ``radius`` rounded down to float16."""
        prediction = self.sample.pred_sem_seg.data[0].numpy(force=True).astype(np.uint8)
        return dict(prediction=prediction, radius=self._stored_radius)

    def robust_mask(self, eps: float) -> np.ndarray:
        """Pixels (H, W) that no perturbation of norm ``eps`` can change, each for itself.

        An attacker who wins ties changes a pixel of radius ``eps``; ``eps = 0`` changes none.

        Args:
            eps: l2 norm of the perturbation, images in [0, 1].
        """
        return np.square(self.radius) > squared_budget(self._one_norm(eps), 1.0)

    def worst_case(
        self,
        metric: str,
        eps: float | Sequence[float] | None = None,
        class_index: int | None = None,
    ) -> float | np.ndarray:
        """Value of a metric that no perturbation of norm ``eps`` can undercut, for certain.

        Args:
            metric: One of ``certificates.QUERIES``: pixel_accuracy, stability, recall, mIoU, ...
            eps: One norm or several.
            class_index: The class, for a metric of one class.

        Returns:
            A number for one norm, an array for several. ``eps = 0`` gives the clean value.

        Raises:
            ValueError: If labels are needed and none were given, or for a wrong argument.
        """
        eps = self.eps if eps is None else eps
        values = worst_case(**self._problem(metric), eps=eps, class_index=class_index).numpy()
        return float(values[0]) if np.ndim(eps) == 0 else values

    def robustness_radius(
        self, metric: str, threshold: float, class_index: int | None = None
    ) -> float:
        """Supremum of the norms under which a metric is guaranteed to stay >= a threshold.

        Args:
            metric: As in :meth:`worst_case`.
            threshold: The value to be guaranteed.
            class_index: The class, for a metric of one class.

        Returns:
            The radius, not itself included: 0 when the clean value is below the threshold, infinite
            when no attack suffices, NaN when the clean value is NaN.

        Raises:
            ValueError: If labels are needed and none were given, or for a wrong argument.
        """
        return robustness_radius(
            **self._problem(metric), threshold=threshold, class_index=class_index
        )

    def change_radius(
        self, where: np.ndarray, share: float = 1.0, class_index: int | None = None
    ) -> float:
        """Norm below which no perturbation gives some pixels other predictions; needs no labels.

        Args:
            where: Boolean (H, W): the pixels, at least one.
            share: Share of them, in (0, 1], that is to change. Defaults to 1.
            class_index: The class that they are to become. Defaults to None: any other than they
                are predicted as.
        """
        meta, logits = self.sample.metainfo, self.sample.seg_logits.data
        labels = torch.from_numpy(self.labels.astype(np.int64))
        cells = native_cells(logits, labels.shape, meta["img_shape"][:2], meta["logit_stride"])
        # No prediction is ignored.
        problem = ImageProblem(
            logits,
            native_target(logits, labels, cells, -1),
            ignore_index=-1,
            classifier=meta.get("classifier"),
        )
        maps = PixelMaps(problem, labels, cells)
        if class_index is not None:
            check_class_index(class_index, problem.num_classes, "change_radius")
        return change_radius(maps, where, share, self.bound, class_index)

    def _problem(self, metric: str) -> dict:
        sample, ignore_index = self._labeled_sample(metric), self.metric.ignore_index
        logits, meta = sample.seg_logits.data, sample.metainfo
        labels = sample.gt_sem_seg.data[0]
        cells = native_cells(logits, labels.shape, meta["img_shape"][:2], meta["logit_stride"])
        return dict(
            logits=logits,
            target=native_target(logits, labels, cells, ignore_index),
            metric=metric,
            lipschitz=self.bound,
            ignore_index=ignore_index,
            classifier=meta.get("classifier"),
        )

    def _stable(self) -> str:
        shares = zip(self.stability(self.eps), self.eps, strict=True)
        return ", ".join(f"{percent(s)} stable at {significant(e)}" for s, e in shares)
