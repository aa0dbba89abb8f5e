from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmseg.registry import METRICS

from ...certificates import RegionQuery, dataset_summary, image_entry
from ...certificates.cells import native_cells
from ...certificates.validation import check_eps, check_share
from ...utils.rounding import check_distinct, percent, significant
from .certificate_metric import CertificateMetric


def is_resized(meta: Mapping[str, Any]) -> bool:
    """Whether the test pipeline changed the size of an image: eps is then about the new one."""
    return tuple(meta["img_shape"][:2]) != tuple(meta["ori_shape"][:2])


@METRICS.register_module()
class LipschitzCertificateMetric(CertificateMetric):
    """Guaranteed segmentation metrics under any l2 perturbation, from native logits.

    Each image becomes one small entry (:func:`mmseg_lipcert.certificates.image_entry`), the
    dataset figures come from the entries alone
    (:func:`mmseg_lipcert.certificates.dataset_summary`). Samples must carry ``seg_logits`` at
    native resolution and ``lipschitz_bound``, as :class:`LipEncoderDecoder` gives them; with a
    free classifier also ``classifier``, as the bound is then that of the features.

    Args:
        eps: Norms of the perturbation, images in [0, 1].
        thresholds: Pixel accuracies whose robustness radius is reported.
        shares: Shares of the pixels of an image, in (0, 1], for the curve of the radius below which
            less than a share can change.
        vanish_share: Share of the pixels of an object (a connected component of the labels) whose
            loss counts as vanishing. Defaults to 0.9.
        min_region_pixels: Smaller objects are left out. Defaults to 50.
        object_classes: Classes, by name or index, whose objects matter: detection rate and false
            alarms are certified. None by default: each costs another pass over the logits.
        fabricate_pixels: Fewest pixels of a false alarm. Defaults to 200.
        fabricate_distance: Pixels around the labels of a class that are no false alarm of it.
            Defaults to 10.
        ignore_index: Label of ignored pixels. Defaults to 255.
        collect_device: ``'cpu'`` or ``'gpu'``. Defaults to ``'cpu'``.
        prefix: Prefix of the metric names. Defaults to ``'certified'``.

    Raises:
        ValueError: If an eps is negative or not finite, or a share or a number of pixels out of
            range.
    """

    def __init__(
        self,
        eps: Sequence[float] = (0.05, 0.1, 0.17, 0.5, 1.0),
        thresholds: Sequence[float] = (0.5, 0.6, 0.7, 0.8),
        shares: Sequence[float] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
        vanish_share: float = 0.9,
        min_region_pixels: int = 50,
        object_classes: Sequence[str | int] = (),
        fabricate_pixels: int = 200,
        fabricate_distance: int = 10,
        ignore_index: int = 255,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(ignore_index, collect_device, prefix)
        self.eps = check_eps(list(eps))
        check_distinct(self.eps, "eps")
        self.thresholds = list(thresholds)
        self.shares = [check_share(share, "shares") for share in shares]
        self.object_classes = list(object_classes)
        self._regions = RegionQuery(
            vanish_share,
            min_region_pixels,
            fabricate_pixels=fabricate_pixels,
            fabricate_distance=fabricate_distance,
        )

    def certify(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Entry of one prediction with native logits and their Lipschitz bound.

        Args:
            sample: A predicted ``SegDataSample`` as a dictionary.

        Raises:
            ValueError: If the sample does not know the Lipschitz bound of its logits.
        """
        if sample.get("lipschitz_bound") is None:
            raise ValueError(
                f"{sample.get('img_path')}: the prediction carries no Lipschitz bound; certify "
                "a LipEncoderDecoder with the CertificationHook"
            )
        entry = self.calculate(
            sample["seg_logits"]["data"],
            sample["gt_sem_seg"]["data"].squeeze(0),
            sample["lipschitz_bound"],
            sample["img_shape"],
            sample["logit_stride"],
            sample.get("classifier"),
        )
        passes = sample.get("forward_passes", 1)
        return {**entry, "resized": is_resized(sample), "forward_passes": passes}

    def summarize(self, entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Figures of the dataset (:func:`mmseg_lipcert.certificates.dataset_summary`)."""
        return dataset_summary(entries)

    def title(self, entry: dict[str, Any]) -> str:
        """Pixel accuracy of an image without attack and at each eps."""
        valid = max(entry["valid"], 1)
        accuracy = ", ".join(
            f"{percent((entry['correct'] - lost) / valid)} at {significant(eps)}"
            for eps, lost in zip(entry["eps"], entry["correct_lost"], strict=True)
        )
        return f"pixel accuracy {percent(entry['correct'] / valid)}, certified {accuracy}"

    def with_eps(self, eps: float | Sequence[float]) -> LipschitzCertificateMetric:
        """The same with other norms of the perturbation.

        Raises:
            ValueError: If one is negative or not finite.
        """
        other = copy.copy(self)
        other.eps = check_eps(eps)
        return other

    def calculate(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        lipschitz: float,
        network_size: tuple[int, int],
        stride: int = 1,
        classifier: torch.Tensor | None = None,
    ) -> dict[str, Any]:
        """Certify one image; usable without a runner.

        Args:
            logits: Native logits (K, h, w).
            target: Labels (H, W), at the original size of the image.
            lipschitz: Joint bound from images in [0, 1] to the logits, or to the features with
                ``classifier``.
            network_size: Size of the image that entered the network.
            stride: Rows of that image per row of logits. Defaults to 1.
            classifier: Weights (K, C) of an unconstrained last 1x1 layer.

        Returns:
            The entry of :func:`mmseg_lipcert.certificates.image_entry`.
        """
        return image_entry(
            logits,
            target,
            self.eps,
            lipschitz,
            thresholds=self.thresholds,
            shares=self.shares,
            regions=self.region_query,
            ignore_index=self.ignore_index,
            classifier=classifier,
            cells=native_cells(logits, tuple(target.shape), network_size[:2], stride),
        )

    @property
    def region_query(self) -> RegionQuery:
        """What is certified about regions; it needs the dataset's classes if any is named.

        Raises:
            ValueError: If a class of ``object_classes`` is not one of the dataset's.
        """
        return replace(
            self._regions,
            object_classes=[self._class_index(name) for name in self.object_classes],
        )

    def _class_index(self, name: str | int) -> int:
        classes = (self.dataset_meta or {}).get("classes", ())
        if name in classes:
            return classes.index(name)
        if isinstance(name, int) and (not classes or 0 <= name < len(classes)):
            return name
        raise ValueError(
            f"object_classes: {name!r} is no class of the dataset, which has "
            f"{len(classes)}: {', '.join(classes)}"
        )
