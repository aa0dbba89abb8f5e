"""Maps of a smoothed certificate: which pixels hold, and how far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..validation import check_integer_map
from .binomial import clopper_pearson_radii
from .corrections import holm_threshold
from .metric_level import metric_level_k
from .settings import SmoothingSettings

if TYPE_CHECKING:
    from .class_hierarchy import ClassHierarchy

#: Label of pixels that abstain.
ABSTAIN = 255


def check_hits(hits: Tensor, n: int) -> None:
    """Require numbers of hits of n draws.

    Raises:
        ValueError: If one is not in [0, n], or the map is empty or holds no integers.
    """
    if hits.ndim != 2 or hits.numel() == 0:
        raise ValueError(f"hits must have shape (H, W), got {tuple(hits.shape)}")
    check_integer_map(hits, tuple(hits.shape), "hits")
    low, high = torch.aminmax(hits)
    if low < 0 or high > n:
        raise ValueError(f"hits must be in [0, {n}], got {int(low)}..{int(high)}")


def tested_pixels(selected: Tensor, hierarchy: ClassHierarchy | None) -> Tensor:
    """Pixels (H, W) whose selection says anything: those at the root are not tested."""
    if hierarchy is None:
        return torch.ones_like(selected, dtype=torch.bool)
    return selected != hierarchy.abstain


def hit_thresholds(hits: Tensor, tested: Tensor, settings: SmoothingSettings) -> list[int]:
    """Hits that certify a pixel of this image, per tau; n + 1 where none is.

    All tested pixels of the image are corrected for, also those without ground truth. For
    ``"metric"`` the threshold depends on the settings alone.

    Args:
        hits: Hits (H, W) of the second stage.
        tested: Bool (H, W).
        settings: What is claimed.
    """
    n, alpha = settings.n, settings.alpha_per_event
    if settings.correction == "metric":
        return [metric_level_k(n, tau, alpha) for tau in settings.taus]
    histogram = torch.bincount(hits[tested].flatten().int(), minlength=n + 1).cpu()
    return [
        holm_threshold(histogram, n, tau, alpha, settings.correction, settings.k)
        for tau in settings.taus
    ]


def certified_labels(
    selected: Tensor,
    hits: Tensor,
    settings: SmoothingSettings,
    hierarchy: ClassHierarchy | None = None,
) -> Tensor:
    """Classes of the pixels that are certified at the first tau.

    Args:
        selected: Selected class (or vertex of the hierarchy) per pixel, (H, W).
        hits: Draws of the second stage that agree with it, (H, W), in [0, n].
        settings: What is claimed.
        hierarchy: Of the vertices; without one they are classes.

    Returns:
        Classes (H, W), uint8; 255 where the pixel is not certified, or only as a group of classes.

    Raises:
        ValueError: On wrong shapes or hits, or if a class is too large for 8 bits.
    """
    check_hits(hits, settings.n)
    check_integer_map(selected, tuple(hits.shape), "selected")
    tested = tested_pixels(selected, hierarchy)
    certified = tested & (hits >= hit_thresholds(hits, tested, settings)[0])
    if hierarchy is not None:
        certified &= selected < hierarchy.num_classes
    largest = int(selected[certified].max()) if certified.any() else 0
    if largest >= ABSTAIN:
        raise ValueError(f"class {largest} does not fit into 8 bits beside {ABSTAIN}, abstention")
    return selected.masked_fill(~certified, ABSTAIN).to(torch.uint8)


def radius_map(hits: Tensor, settings: SmoothingSettings) -> Tensor:
    """Radius within which the selection of each pixel holds, all pixels together.

    Args:
        hits: Hits (H, W) of the second stage, in [0, n].
        settings: What is claimed; alpha is not shared with the taus.

    Returns:
        l2 radii (H, W), images in [0, 1], float64; 0 where nothing is proven.

    Raises:
        ValueError: On wrong hits.
    """
    check_hits(hits, settings.n)
    table = clopper_pearson_radii(settings.n, settings.sigma, settings.alpha, hits.numel())
    return torch.from_numpy(table).to(hits.device)[hits.long()]
