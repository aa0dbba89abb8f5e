"""Regions: what it takes to erase an object, to invent one, and to change a share of the image."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .budget import radius_of
from .image_problem import ImageProblem
from .margins import entry_costs, flip_costs, predicted_labels
from .region import Region
from .validation import (
    check_class_index,
    check_integer_map,
    check_labels,
    check_lipschitz,
    check_share,
)

# Shares such as 0.7 * 10 pixels must not be rounded up by an ulp.
_CEIL_SLACK = 1e-9


def _components(target: np.ndarray, classes: Sequence[int]) -> tuple[np.ndarray, list[int]]:
    """Number the 8-connected components of some classes from 1; 0 is everything else."""
    numbers = np.zeros(target.shape, dtype=np.int64)
    owners: list[int] = []
    for c in classes:
        found, count = ndimage.label(target == c, structure=np.ones((3, 3)))
        numbers[found > 0] = found[found > 0] + len(owners)
        owners += [c] * count
    return numbers, owners


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
    until the share is reached (THEORY: region certificates).

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
    costs = flip_costs(logits, classifier=classifier).square().cpu().numpy()
    num_classes = max(2, logits.shape[0])
    check_integer_map(target, tuple(logits.shape[1:]), "target")
    check_labels(target, num_classes, ignore_index)
    wanted = range(num_classes) if classes is None else classes
    wanted = [check_class_index(c, num_classes, "vanishing_regions") for c in wanted]
    labels = target.cpu().numpy()
    labels = np.where(labels == ignore_index, -1, labels)
    numbers, owners = _components(labels, wanted)
    sizes = np.bincount(numbers.ravel(), minlength=len(owners) + 1)
    boxes = ndimage.find_objects(numbers)
    detected = predicted_labels(logits).cpu().numpy() == labels
    regions: list[Region] = []
    kept = np.zeros_like(numbers)
    for i in range(1, len(owners) + 1):
        pixels = int(sizes[i])
        if pixels < min_pixels:
            continue
        box = boxes[i - 1]
        inside = numbers[box] == i
        kept[box][inside] = len(regions) + 1
        found = costs[box][inside & detected[box]]
        missing = math.ceil(share * pixels - _CEIL_SLACK) - (pixels - len(found))
        budget = math.fsum(np.sort(found)[:missing]) if missing > 0 else 0.0
        regions.append(
            Region(
                number=len(regions) + 1,
                class_index=owners[i - 1],
                pixels=pixels,
                box=(box[0].start, box[1].start, box[0].stop, box[1].stop),
                detected=len(found),
                budget=math.sqrt(budget),
                radius=radius_of(budget, bound),
            )
        )
    return regions, torch.from_numpy(kept)


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
    costs = entry_costs(logits, class_index, classifier=classifier)
    target = target.to(logits.device)
    check_integer_map(target, tuple(logits.shape[1:]), "target")
    check_labels(target, max(2, logits.shape[0]), ignore_index)
    candidates = (target != ignore_index) & (target != class_index)
    candidates &= predicted_labels(logits) != class_index
    if where is not None:
        if where.dtype != torch.bool or where.shape != target.shape:
            raise ValueError(
                f"where must be a boolean map of shape {tuple(target.shape)}, "
                f"got {where.dtype} {tuple(where.shape)}"
            )
        candidates &= where.to(logits.device)
    for m in pixels:
        if m < 1:
            raise ValueError(f"pixels must be >= 1, got {m}")
    available = np.sort(costs[candidates].square().cpu().numpy())
    budgets = [math.fsum(available[:m]) if m <= len(available) else math.inf for m in pixels]
    return torch.tensor([radius_of(b, bound) for b in budgets], dtype=torch.float64)


def curve_radii(problem: ImageProblem, lipschitz: float, shares: Sequence[float]) -> list[float]:
    """``change_curve`` of an image whose problem is built already."""
    shares = [check_share(share, "shares") for share in shares]
    if not shares or problem.valid == 0:
        return [math.nan] * len(shares)
    group = problem.all_pixels()
    gains = np.array(shares) * problem.valid
    if group.uniform:
        items = np.ceil(gains / group.unit - _CEIL_SLACK).astype(np.int64)
        known = items < len(group.spent)
        budgets = np.where(known, group.spent[np.where(known, items, 0)], math.inf)
    else:
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
