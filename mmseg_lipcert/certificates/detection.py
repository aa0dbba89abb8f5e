r"""Certified detection: objects that are found whatever moves the outputs of a dense detector.

Theory with proofs: docs/detection.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from torch import Tensor

from .boxes import areas, cover, excess, intersections
from .budget import BUDGET_GUARD, radius_of
from .validation import check_class_index, check_lipschitz, check_logits, check_share

# Halvings of a bracket; of the two ends the one that is certified is taken.
_HALVINGS = 24
# Sides that change by exp(8), a factor of 3000: no box is that certain.
_FARTHEST = 8.0
# Share of the truth's area by which a box must fit better than asked: rounding goes against us.
_AREA_GUARD = 1e-9
# Where an edge goes when its output grows: left, top, right, bottom.
_SIGNS = np.array([-1, -1, 1, 1])


@dataclass(frozen=True)
class DetectionRule:
    """How the outputs of a dense detector become boxes.

    Each location has K + 1 logits, the last of them for the background, and one output per side of
    its box. Its score of class c is the logit of c minus the largest other logit. It has a box of
    class c where this score exceeds ``min_score`` and it lies near the middle of the box: opposite
    sides differ by a factor of at most ``exp(max_skew)``. Of the boxes of a class the one with the
    highest score is kept and those that overlap it by more than ``nms_iou`` are dropped, and so on.

    Attributes:
        stride: Pixels of the image per location; location (i, j) is the middle of its cell.
        base_side: An output o means that the side is ``base_side * exp(side_gain * o)`` pixels
            away.
        side_gain: A larger one lets a Lipschitz network tell sizes apart, a smaller one keeps them.
        min_score: Score to be exceeded, at least 0: a location has at most one class.
        nms_iou: Intersection over union above which two boxes of a class are one.
        max_skew: Largest difference between the logarithms of opposite sides. Defaults to any.

    Raises:
        ValueError: If a value is out of range, naming it.
    """

    stride: int
    base_side: float = 16.0
    side_gain: float = 1.0
    min_score: float = 0.0
    nms_iou: float = 0.5
    max_skew: float = math.inf

    def __post_init__(self) -> None:
        check_share(self.nms_iou, "nms_iou")
        if not self.max_skew >= 0:
            raise ValueError(f"max_skew must be at least 0, got {self.max_skew}")
        bounds = dict(stride=1, base_side=1e-6, side_gain=1e-6, min_score=0)
        for name, least in bounds.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= least):
                raise ValueError(f"{name} must be finite and at least {least}, got {value}")


class Detections(NamedTuple):
    """Boxes that are kept.

    Attributes:
        classes: (d,), from 0 to K - 1.
        scores: (d,).
        boxes: (d, 4): left, top, right and bottom edge in pixels.
    """

    classes: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray

    def fits(
        self, classes: Sequence[int] | np.ndarray, boxes: np.ndarray, iou: float
    ) -> np.ndarray:
        """Which detections (d, n) have the class of an object and at least this IoU with it."""
        found = self.boxes[:, None]
        enough = excess(intersections(found, boxes), areas(found) + areas(boxes), iou) >= 0
        return enough & (self.classes[:, None] == np.asarray(classes, dtype=np.int64))


def outranking_cost(gaps: np.ndarray, prices: np.ndarray) -> float:
    r"""Squared cost of ending or outranking every good location.

    Raising the score of a rival by t costs :math:`t^2 / 2`, taking that of a location down by y
    :math:`y^2 / 2`. If t is the largest rise, every location costs at least its price or
    :math:`((g_l - t)^+)^2 / 2`. Between the points where terms of the sum begin and end it is a
    parabola in t, so that its minimum is at 0 or at the vertex of one of them.

    Args:
        gaps: Score of each location minus the largest one of its rivals (g,), infinite without.
        prices: Squared norms (g,) that end them.
    """
    begin = gaps - np.sqrt(2 * prices)
    starts = np.concatenate(([0.0], begin, gaps))
    starts = starts[np.isfinite(starts) & (starts >= 0), None]
    active = (begin <= starts) & (starts < gaps)
    rises = np.where(active, gaps, 0.0).sum(1) / (1 + active.sum(1))
    falls = (gaps - np.append(rises, 0.0)[:, None]).clip(min=0) ** 2 / 2
    return float((np.append(rises, 0.0) ** 2 / 2 + np.minimum(prices, falls).sum(1)).min())


class DenseDetector:
    """Outputs of a dense detector for one image: their boxes, and what no small change removes.

    Args:
        outputs: (K + 5, h, w): logits of the classes and the background, then what the left, top,
            right and bottom side of the box of each location are made of.
        size: Height and width of the image; boxes end at its border.
        rule: How boxes are made.

    Raises:
        ValueError: On outputs of a wrong shape, or NaN or infinite ones.
    """

    def __init__(self, outputs: Tensor, size: tuple[int, int], rule: DetectionRule) -> None:
        check_logits(outputs)
        if outputs.shape[0] < 6:
            raise ValueError(f"outputs must be K + 5 maps, K >= 1, got {outputs.shape[0]}")
        self.rule, self.size = rule, size
        flat = outputs.numpy(force=True).astype(np.float64).reshape(len(outputs), -1)
        logits, self.sides = flat[:-4], flat[-4:].T
        rows, columns = np.indices(outputs.shape[1:]).reshape(2, -1)
        self.points = (np.stack((columns, rows), 1) + 0.5) * rule.stride
        second, first = np.sort(logits, 0)[-2:]
        #: (K, n): logit of each class minus the largest other one.
        self.scores = (logits - np.where(logits == first, second, first))[:-1]
        # How far, in l2, left and right, top and bottom (n, 2) are from differing too much; below
        # 0: they do, and how far they are from the opposite.
        skew = rule.side_gain * abs(self.sides[:, :2] - self.sides[:, 2:])
        self.spare = (rule.max_skew - skew) / (rule.side_gain * math.sqrt(2))

    def edges(
        self, sides: np.ndarray, points: np.ndarray, which: slice = slice(None)
    ) -> np.ndarray:
        """Edges of boxes, each monotone in its side: left and top fall, right and bottom rise.

        Args:
            sides: Outputs (..., s) of s sides.
            points: Locations (..., 2) that broadcast with the sides.
            which: Which of the four sides they are. Defaults to all.
        """
        with np.errstate(over="ignore"):  # an infinite side ends at the border, too
            reach = self.rule.base_side * np.exp(self.rule.side_gain * sides)
        moved = np.concatenate((points, points), -1)[..., which] + _SIGNS[which] * reach
        return moved.clip(0, np.array(self.size[::-1] * 2)[which])

    def boxes(
        self, locations: np.ndarray | slice = slice(None), change: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Boxes (m, 4) of locations whose outputs of sides all change by a number, or one each."""
        sides = self.sides[locations] + np.asarray(change)[..., None]
        return self.edges(sides, self.points[locations])

    @cached_property
    def detections(self) -> Detections:
        """The boxes that are kept, by class and then by falling score."""
        boxes, rule = self.boxes(), self.rule
        found: list[tuple[int, int]] = []
        for c, scores in enumerate(self.scores):
            rest = np.flatnonzero((scores > rule.min_score) & (self.spare >= 0).all(1))
            rest = rest[np.argsort(-scores[rest], kind="stable")]
            while len(rest):
                best, others = boxes[rest[0]], boxes[rest]
                found.append((c, rest[0]))
                common = intersections(best, others)
                same = excess(common, areas(best) + areas(others), rule.nms_iou) > 0
                same[0] = True
                rest = rest[~same]
        classes, locations = np.array(found, dtype=np.int64).reshape(-1, 2).T
        return Detections(classes, self.scores[classes, locations], boxes[locations])

    def object_radius(
        self, class_index: int, box: Sequence[float], lipschitz: float, iou: float = 0.5
    ) -> float:
        r"""Norm below which an object is found: a kept box of its class has this IoU with it.

        A location is *good* where it has a box of the class that fits. To end that costs
        :math:`\rho_l`: the score falls to the threshold, :math:`(s_l - \tau) / \sqrt 2`, the box
        fits no longer (:meth:`fit_norms`), or it gets too skew (``spare``). A *rival* of a good
        location l within r is a location m that can take its place with a box that does not fit:
        for at most r its score rises above the threshold, :math:`(\tau - s_m)^+ / \sqrt 2`, and to
        that of l, :math:`(s_l - s_m)^+ / 2`, the larger of both, its box is no fit and not too
        skew, the larger of both, and with what is left of r for both boxes they can overlap as NMS
        asks. To hide the object, each good location is ended or outranked by a rival;
        :func:`outranking_cost` bounds the price of that. The radius is the largest r below this
        price, over L.

        Args:
            class_index: Class of the object.
            box: Its left, top, right and bottom edge in pixels.
            lipschitz: Joint Lipschitz bound L of the map from image to outputs.
            iou: Intersection over union to be kept, in (0, 1]. Defaults to 0.5.

        Returns:
            The radius, 0 where nothing is certain.

        Raises:
            ValueError: On a value out of range, or a box without area.
        """
        bound, iou = check_lipschitz(lipschitz), check_share(iou, "iou")
        class_index = check_class_index(class_index, len(self.scores), "object_radius")
        truth = np.asarray(box, dtype=np.float64)
        if truth.shape != (4,) or not areas(truth) > 0:
            raise ValueError(f"box must be left, top, right and bottom, got {box}")
        scores, boxes, threshold = self.scores[class_index], self.boxes(), self.rule.min_score
        fitting = excess(intersections(boxes, truth), areas(boxes) + areas(truth), iou) >= 0
        stay = np.zeros(len(boxes))
        stay[fitting] = self.fit_norms(np.flatnonzero(fitting), truth, iou)
        spare = self.spare.min(1)
        good = np.flatnonzero(fitting & (scores > threshold) & (spare >= 0))
        ends = ((scores[good] - threshold) / math.sqrt(2), stay[good], spare[good])
        prices = np.min(ends, axis=0) ** 2
        reshape = np.maximum(stay, np.linalg.norm(self.spare.clip(max=0), axis=1))
        appear = (threshold - scores).clip(min=0) / math.sqrt(2)
        gaps = scores[good] - scores[:, None]
        ranked = np.maximum(appear[:, None], gaps.clip(min=0) / 2) ** 2
        ranked[good, np.arange(len(good))] = np.inf  # nothing takes its own place

        def certain(budget: float) -> bool:
            left = budget * (1 + BUDGET_GUARD) - ranked
            rival, victim = np.nonzero(left >= reshape[:, None] ** 2)
            room = np.sqrt(left[rival, victim])
            overlap = self._may_overlap(rival, good[victim], room)
            smallest = np.full(len(good), np.inf)
            np.minimum.at(smallest, victim[overlap], gaps[rival, victim][overlap])
            return outranking_cost(smallest, prices) > budget * (1 + BUDGET_GUARD)

        low, high = 0.0, math.sqrt(prices.sum())
        if not certain(0.0):
            return 0.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if certain(middle**2) else (low, middle)
        return radius_of(low**2, bound)

    def fit_norms(self, locations: np.ndarray, truth: np.ndarray, iou: float) -> np.ndarray:
        """Norms (m,) by which the four outputs of a box can change, in l2, while it fits a truth.

        The smallest IoU over a box of intervals is that of one of its corners, and the boxes of
        :func:`cover` contain the ball.

        Args:
            locations: Numbers (m,) of the locations.
            truth: Box (4,) of the object.
            iou: Intersection over union to be kept.
        """
        levels, corners = cover()
        goal = areas(truth)

        def fits(norms: np.ndarray) -> np.ndarray:
            moved = self.sides[locations, :, None] + norms[:, None, None] * levels
            points = self.points[locations, None]
            edges = [self.edges(moved[:, i, :, None], points, slice(i, i + 1)) for i in range(4)]
            boxes = np.stack([edge[:, corners[:, i], 0] for i, edge in enumerate(edges)], -1)
            spare = excess(intersections(boxes, truth), areas(boxes) + goal, iou)
            return spare.min(1) >= _AREA_GUARD * goal

        low = np.zeros(len(locations))
        high = np.full(len(locations), _FARTHEST / self.rule.side_gain)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            inside = fits(middle)
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        return low

    def _may_overlap(self, first: np.ndarray, second: np.ndarray, room: np.ndarray) -> np.ndarray:
        """Whether NMS may drop one of two boxes when each output of theirs moves by ``room``."""
        common = intersections(self.boxes(first, room), self.boxes(second, room))
        total = areas(self.boxes(first, -room)) + areas(self.boxes(second, -room))
        return excess(common, total, self.rule.nms_iou) >= -_AREA_GUARD * total
