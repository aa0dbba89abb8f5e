from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ...certificates.detection import DenseDetector, DetectionRule
from .objective import Objective


class DetectionObjective(Objective):
    """Let no box of a detector's fit an object: ``score`` is 1 as long as one that is kept does.

    The loss adds up, over all locations, how far their outputs are from having no box of the class
    that fits, in its class or its sides, whichever is nearer.

    Args:
        rule: How outputs become boxes.
        size: Height and width of the image.
        class_index: Class of the object, from 0.
        box: Its left, top, right and bottom edge in pixels.
        iou: Intersection over union that fits. Defaults to 0.5.
    """

    def __init__(
        self,
        rule: DetectionRule,
        size: tuple[int, int],
        class_index: int,
        box: np.ndarray,
        iou: float = 0.5,
    ) -> None:
        self.rule, self.size = rule, size
        self.class_index, self.box, self.iou = class_index, box, iou

    def loss(self, logits: Tensor, progress: float) -> Tensor:
        """Differentiable losses (N,) of outputs (N, K + 5, h, w)."""
        c, (height, width) = self.class_index, self.size
        classes = logits[:, :-4]
        sides = self.rule.base_side * (self.rule.side_gain * logits[:, -4:]).exp()
        others = torch.cat((classes[:, :c], classes[:, c + 1 :]), 1)
        score = (classes[:, c] - others.amax(1) - self.rule.min_score) / math.sqrt(2)
        rows, columns = (
            (torch.arange(count, device=logits.device) + 0.5) * self.rule.stride
            for count in logits.shape[2:]
        )
        x = torch.stack((columns - sides[:, 0], columns + sides[:, 2])).clamp(0, width)
        y = torch.stack((rows[:, None] - sides[:, 1], rows[:, None] + sides[:, 3]))
        y = y.clamp(0, height)
        left, top, right, bottom = self.box
        common = (x[1].clamp(max=right) - x[0].clamp(min=left)).clamp(min=0)
        common = common * (y[1].clamp(max=bottom) - y[0].clamp(min=top)).clamp(min=0)
        goal = (right - left) * (bottom - top)
        total = (x[1] - x[0]) * (y[1] - y[0]) + goal
        fit = ((1 + self.iou) * common - self.iou * total) / goal
        skew = self.rule.side_gain * (logits[:, -4:-2] - logits[:, -2:]).abs().amax(1)
        ends = torch.stack((score, fit, self.rule.max_skew - skew))
        return ends.amin(0).clamp(min=0).flatten(1).sum(1)

    def score(self, logits: Tensor) -> Tensor:
        """Whether the object is found (N,): 1 or 0."""
        found = [
            DenseDetector(outputs, self.size, self.rule)
            .detections.fits([self.class_index], self.box[None], self.iou)
            .any()
            for outputs in logits
        ]
        return torch.tensor(found, device=logits.device).double()
