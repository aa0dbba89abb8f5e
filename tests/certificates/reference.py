"""Slow and obvious answers: every label change of a tiny image is tried.

Nothing here is shared with the package: costs come from enumerating active sets, attacks from
enumerating label maps. A pixel's label map is any assignment of classes to pixels; it costs the sum
over pixels of the squared distance to the cone of the assigned class.
"""

import itertools
import math

import numpy as np

# A tie goes to the attacker, also when rounding hides it.
TIE = 1 + 1e-11
NOTHING = -1.0


def entry_cost(z: np.ndarray, c: int) -> float:
    """Distance of one logit vector to the cone of class c, trying every set of lowered logits."""
    others = [j for j in range(len(z)) if j != c]
    best = math.inf
    for size in range(len(others) + 1):
        for lowered in itertools.combinations(others, size):
            moved = [c, *lowered]
            level = np.mean(z[moved])
            if all(z[j] <= level + 1e-12 for j in others if j not in lowered):
                best = min(best, float(np.linalg.norm(z[moved] - level)))
    return best


def binary_entry_cost(z: np.ndarray, c: int) -> float:
    """Distance of a single logit to the side of label c."""
    return float(max(0.0, -z[0]) if c == 1 else max(0.0, z[0]))


def predict(z: np.ndarray) -> int:
    """Predicted label of one logit vector."""
    return int(z[0] > 0) if len(z) == 1 else int(np.argmax(z))


class LabelMaps:
    """All label maps of an image with their squared costs, and every metric on them.

    Args:
        logits: ``(K, N)`` float64.
        counts: ``(classes, N)`` image pixels of each label behind each pixel.
    """

    def __init__(self, logits: np.ndarray, counts: np.ndarray) -> None:
        classes, pixels = counts.shape
        entry = entry_cost if len(logits) > 1 else binary_entry_cost
        cost = np.array([[entry(z, c) ** 2 for c in range(classes)] for z in logits.T])
        self.clean = np.array([predict(z) for z in logits.T])
        cost[np.arange(pixels), self.clean] = 0.0
        self.maps = np.array(list(itertools.product(range(classes), repeat=pixels)))
        self.cost = cost[np.arange(pixels), self.maps].sum(1)
        self.cost[(self.maps == self.clean).all(1)] = NOTHING
        self.counts = counts

    def budget(self, eps: float, lipschitz: float) -> float:
        return (eps * lipschitz) ** 2 * TIE if eps > 0 else NOTHING

    def values(self, metric: str, c: int | None) -> np.ndarray:
        """The metric on every label map; NaN where it is undefined."""
        counts, total = self.counts, self.counts.sum(0)
        if metric == "pixel_accuracy":
            chosen = counts[self.maps, np.arange(counts.shape[1])].sum(1)
            return divide(chosen, total.sum())
        if metric == "stability":
            return divide(((self.maps == self.clean) * total).sum(1), total.sum())
        hit, gt_area, pred_area = self.terms(c)
        if metric == "recall":
            return divide(hit, gt_area)
        if metric == "specificity":
            negative = total.sum() - gt_area
            return divide(negative - (pred_area - hit), negative)
        if metric == "iou":
            return divide(hit, gt_area + pred_area - hit)
        return divide(2 * hit, gt_area + pred_area)

    def terms(self, c: int) -> tuple[np.ndarray, int, np.ndarray]:
        """Intersection, ground truth and predicted area of a class on every label map."""
        predicted = self.maps == c
        return (
            (predicted * self.counts[c]).sum(1),
            self.counts[c].sum(),
            (predicted * self.counts.sum(0)).sum(1),
        )

    def worst(self, metric: str, c: int | None, budget: float) -> float:
        """Smallest value within a budget, NaN when no reachable map has one."""
        values = self.values(metric, c)[self.cost <= budget]
        values = values[~np.isnan(values)]
        return float(values.min()) if len(values) else math.nan

    def radius(self, metric: str, c: int | None, threshold: float) -> float:
        """Cheapest label map below a threshold, as a distance."""
        values = self.values(metric, c)
        clean = values[self.cost == NOTHING].item()
        if math.isnan(clean):
            return math.nan
        if clean < threshold:
            return 0.0
        below = self.cost[values < threshold]
        return math.sqrt(below.min()) if len(below) else math.inf


def divide(part, area) -> np.ndarray:
    """Quotient, NaN where the area is 0."""
    part, area = np.broadcast_arrays(np.asarray(part, dtype=float), np.asarray(area, dtype=float))
    return np.divide(part, area, out=np.full(part.shape, math.nan), where=area > 0)


def same(a: float, b: float, tolerance: float = 1e-12) -> bool:
    """Equality in which NaN equals NaN and infinity itself."""
    return (math.isnan(a) and math.isnan(b)) or math.isclose(
        a, b, rel_tol=tolerance, abs_tol=tolerance
    )


def pairs_of(maps: LabelMaps, c: int, budget: float) -> np.ndarray:
    """Distinct reachable (intersection, ground truth + predicted area) of a class."""
    hit, gt_area, pred_area = maps.terms(c)
    reachable = maps.cost <= budget
    return np.unique(np.stack([hit, gt_area + pred_area], 1)[reachable], axis=0)


def worst_dataset_ratio(images: list[LabelMaps], c: int, eps: float, ratio: str) -> float:
    """Smallest dataset IoU or Dice over every combination of reachable label maps."""
    choices = [pairs_of(maps, c, maps.budget(eps, 1.0)) for maps in images]
    values = []
    for combination in itertools.product(*choices):
        hit, area = np.sum(combination, axis=0)
        values.append(divide(hit, area - hit) if ratio == "iou" else divide(2 * hit, area))
    values = [v.item() for v in values if not np.isnan(v)]
    return min(values, default=math.nan)


def worst_pooled_share(images: list[LabelMaps], metric: str, c: int | None, eps: float) -> float:
    """Smallest pooled share: every image is attacked on its own."""
    good = area = 0
    for maps in images:
        counts = maps.counts
        size = {"recall": counts[c or 0].sum(), "pixel_accuracy": counts.sum()}.get(
            metric, counts.sum() - counts[c or 0].sum()
        )
        if size:
            good += round(maps.worst(metric, c, maps.budget(eps, 1.0)) * size)
            area += size
    return divide(good, area).item()
