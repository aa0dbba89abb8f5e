"""Regions: what it takes to erase an object, to invent one, and to change a share of the image."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .budget import prefix_sums, radius_of
from .image_problem import ImageProblem
from .pixel_maps import PixelMaps, cheapest_sum, shared_prices
from .region import Region
from .validation import (
    check_class_index,
    check_integer_map,
    check_lipschitz,
    check_share,
)

# Shares such as 0.7 * 10 pixels must not be rounded up by an ulp.
_CEIL_SLACK = 1e-9


def _components(labels: np.ndarray, classes: Sequence[int]) -> tuple[np.ndarray, list[int]]:
    """Number the 8-connected components of some classes from 1; 0 is everything else."""
    numbers = np.zeros(labels.shape, dtype=np.int32)
    owners: list[int] = []
    boxes = ndimage.find_objects(labels + 1, max_label=max(classes, default=0) + 1)
    for c in classes:
        box = boxes[c]
        if box is None:
            continue
        mask = labels[box] == c
        found, count = ndimage.label(mask, structure=np.ones((3, 3)))
        np.add(found, len(owners), out=numbers[box], where=mask)
        owners += [c] * count
    return numbers, owners


def region_numbers(
    labels: np.ndarray, classes: Sequence[int], min_pixels: int
) -> tuple[np.ndarray, list[int]]:
    """Number the components of a label map that are large enough.

    Args:
        labels: ``(H, W)``.
        classes: Classes whose components count.
        min_pixels: Smaller components are left out.

    Returns:
        The map ``(H, W)`` of numbers from 1, by class and then in reading order of their first
        pixels, 0 outside; and the class of each number.
    """
    numbers, owners = _components(labels.astype(np.int32), classes)
    sizes = np.bincount(numbers.ravel(), minlength=len(owners) + 1)
    kept = np.flatnonzero(sizes[1:] >= min_pixels) + 1
    renumbered = np.zeros(len(sizes), dtype=np.int64)
    renumbered[kept] = np.arange(1, len(kept) + 1)
    return renumbered[numbers], [owners[i - 1] for i in kept]


def changed_pixels(share: float, pixels: int) -> int:
    """How many of some pixels are at least a share of them.

    Raises:
        ValueError: If the share is not in (0, 1].
    """
    return math.ceil(check_share(share, "share") * pixels - _CEIL_SLACK)


def certified_regions(
    maps: PixelMaps,
    lipschitz: float,
    *,
    share: float,
    classes: Sequence[int],
    min_pixels: int,
) -> tuple[list[Region], np.ndarray]:
    """``vanishing_regions`` of an image whose pixels may share logits.

    Args:
        maps: The image.
        lipschitz: Joint Lipschitz bound.
        share: Share of a component's pixels whose loss counts as vanishing.
        classes: Classes whose components are certified.
        min_pixels: Smaller components are left out.

    Returns:
        The regions and the map ``(H, W)`` of their numbers, 0 outside.
    """
    numbers, owners = region_numbers(maps.labels, classes, min_pixels)
    sizes, boxes = np.bincount(numbers.ravel()), ndimage.find_objects(numbers)
    detected = maps.prediction == maps.labels
    regions: list[Region] = []
    for number, (owner, box) in enumerate(zip(owners, boxes, strict=True), 1):
        pixels = int(sizes[number])
        inside = (numbers[box] == number) & detected[box]
        found = shared_prices(maps.flip[box][inside], maps.cell[box][inside])
        missing = changed_pixels(share, pixels) - (pixels - len(found))
        budget = cheapest_sum(found, missing)
        regions.append(
            Region(
                number=number,
                class_index=owner,
                pixels=pixels,
                box=(box[0].start, box[1].start, box[0].stop, box[1].stop),
                detected=len(found),
                budget=math.sqrt(budget),
                radius=radius_of(budget, lipschitz),
            )
        )
    return regions, numbers


def change_radius(
    maps: PixelMaps,
    where: np.ndarray,
    share: float,
    lipschitz: float,
    class_index: int | None = None,
) -> float:
    """Norm below which less than a share of some pixels changes its prediction, or becomes a class.

    Args:
        maps: The image.
        where: Boolean ``(H, W)``: the pixels, at least one.
        share: In (0, 1].
        lipschitz: Joint Lipschitz bound.
        class_index: The class that they are to become, those that are predicted as it already
            included; None: any other than the predicted one.
    """
    count = changed_pixels(share, int(where.sum()))
    costs = maps.flip
    if class_index is not None:
        done = where & (maps.prediction == class_index)
        count, where, costs = count - int(done.sum()), where & ~done, maps.entry(class_index)
    prices = shared_prices(costs[where], maps.cell[where])
    return radius_of(cheapest_sum(prices, count), lipschitz)


@torch.no_grad()
def vanishing_regions(
    logits: Tensor,
    target: Tensor,
    lipschitz: float,
    *,
    share: float = 0.9,
    classes: Sequence[int] | None = None,
    min_pixels: int = 1,
    ignore_index: int = 255,
    classifier: Tensor | None = None,
) -> tuple[list[Region], Tensor]:
    """Certify every connected component against vanishing: how hard it is to erase a share of it.

    A pixel of a component is erased when it is not predicted as the component's class. Pixels that
    are missed already are erased for free; of the others the cheapest flips are summed in squares
    until the share is reached (docs/objects.md).

    Args:
        logits: ``(K, H, W)``, or ``(1, H, W)`` for a binary head.
        target: Label map ``(H, W)`` that defines the components: the ground truth, or the
            prediction itself.
        lipschitz: Joint Lipschitz bound of the map from image to logits (to features with
            ``classifier``).
        share: Share of a component's pixels, in (0, 1], whose loss counts as vanishing.
        classes: Classes whose components are certified. Defaults to all.
        min_pixels: Smaller components are left out.
        ignore_index: Label of the pixels that never count.
        classifier: ``(K, C)`` weights of the last affine map, for costs in feature space.

    Returns:
        The regions, by class and then in reading order of their first pixels, and the map
        ``(H, W)`` (int64, CPU) of their numbers, 0 outside.

    Raises:
        ValueError: On any input that cannot be certified, naming it.
    """
    bound, share = check_lipschitz(lipschitz), check_share(share, "share")
    check_integer_map(target, tuple(logits.shape[1:]), "target")
    problem = ImageProblem(logits, target, ignore_index=ignore_index, classifier=classifier)
    wanted = range(problem.num_classes) if classes is None else classes
    wanted = [check_class_index(c, problem.num_classes, "vanishing_regions") for c in wanted]
    wanted = [c for c in wanted if c != ignore_index]
    regions, numbers = certified_regions(
        PixelMaps(problem, target), bound, share=share, classes=wanted, min_pixels=min_pixels
    )
    return regions, torch.from_numpy(numbers)


@torch.no_grad()
def fabrication_radii(
    logits: Tensor,
    target: Tensor,
    class_index: int,
    pixels: Sequence[int],
    lipschitz: float,
    *,
    where: Tensor | None = None,
    ignore_index: int = 255,
    classifier: Tensor | None = None,
) -> Tensor:
    """Norm of the perturbation below which fewer than m new pixels of a class can be invented.

    Candidates are the valid pixels that neither are nor are predicted as the class; the m cheapest
    entries are summed in squares. The invented pixels need not be connected: requiring it could
    only make the attack dearer.

    Args:
        logits: ``(K, H, W)``, or ``(1, H, W)`` for a binary head.
        target: Labels ``(H, W)``.
        class_index: The class to be invented.
        pixels: Numbers of pixels m >= 1.
        lipschitz: Joint Lipschitz bound of the map from image to logits (to features with
            ``classifier``).
        where: Boolean ``(H, W)``: the only pixels that are considered (a runway, the road).
        ignore_index: Label of the pixels that never count.
        classifier: ``(K, C)`` weights of the last affine map, for costs in feature space.

    Returns:
        ``(len(pixels),)`` float64 radii in [0, 1] units of the image; infinite where there are
        fewer than m candidates.

    Raises:
        ValueError: On any input that cannot be certified, naming it.
    """
    bound = check_lipschitz(lipschitz)
    check_integer_map(target, tuple(logits.shape[1:]), "target")
    problem = ImageProblem(logits, target, ignore_index=ignore_index, classifier=classifier)
    check_class_index(class_index, problem.num_classes, "fabrication_radii")
    if where is not None and (where.dtype != torch.bool or where.shape != target.shape):
        raise ValueError(
            f"where must be a boolean map of shape {tuple(target.shape)}, "
            f"got {where.dtype} {tuple(where.shape)}"
        )
    for m in pixels:
        if m < 1:
            raise ValueError(f"pixels must be >= 1, got {m}")
    if not pixels:
        return torch.zeros(0, dtype=torch.float64)
    spent = prefix_sums(problem.cheapest_entries(class_index, max(pixels), where))
    budgets = [spent[m].item() if m < len(spent) else math.inf for m in pixels]
    return torch.tensor([radius_of(budget, bound) for budget in budgets], dtype=torch.float64)


def curve_radii(problem: ImageProblem, lipschitz: float, shares: Sequence[float]) -> list[float]:
    """``change_curve`` of an image whose problem is built already."""
    shares = [check_share(share, "shares") for share in shares]
    if not shares or problem.valid == 0:
        return [math.nan] * len(shares)
    gains = np.array(shares) * problem.valid
    unit = problem.unit
    if unit is not None:
        items = np.ceil(gains / unit - _CEIL_SLACK).astype(np.int64)
        spent = prefix_sums(problem.cheapest_flips(items.max()))
        known = items < len(spent)
        budgets = np.where(known, spent[np.where(known, items, 0)], math.inf)
    else:
        group = problem.all_pixels()
        budgets = np.maximum(group.cheapest, group.fractional_cost(gains))
    return [radius_of(float(budget), lipschitz) for budget in budgets]


def change_curve(
    logits: Tensor,
    target: Tensor,
    lipschitz: float,
    shares: Sequence[float],
    *,
    ignore_index: int = 255,
    weights: Tensor | None = None,
    classifier: Tensor | None = None,
) -> Tensor:
    """Budget against the share of pixels changed: the norm below which less than a share can flip.

    Curves of several images are averaged as radii, not as squares.

    Args:
        logits: ``(K, H, W)``, or ``(1, H, W)`` for a binary head.
        target: Labels ``(H, W)`` or label counts ``(classes, H, W)``: which pixels count.
        lipschitz: Joint Lipschitz bound of the map from image to logits (to features with
            ``classifier``).
        shares: Shares of the valid pixels, in (0, 1].
        ignore_index: Label of the pixels that never count.
        weights: ``(H, W)`` image pixels that each logit pixel stands for.
        classifier: ``(K, C)`` weights of the last affine map, for costs in feature space.

    Returns:
        ``(len(shares),)`` float64 radii in [0, 1] units of the image; infinite where so many
        pixels can never change, NaN without a valid pixel.

    Raises:
        ValueError: On any input that cannot be certified, naming it.
    """
    bound = check_lipschitz(lipschitz)
    problem = ImageProblem(
        logits, target, ignore_index=ignore_index, weights=weights, classifier=classifier
    )
    return torch.tensor(curve_radii(problem, bound, shares), dtype=torch.float64)
