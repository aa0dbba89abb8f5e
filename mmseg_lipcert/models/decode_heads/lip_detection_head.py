from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn import functional as F

from ...certificates.boxes import areas, label_boxes
from ..layers import LayerFactory, RolledStage
from .lip_decode_head import LipDecodeHead


@MODELS.register_module()
class LipDetectionHead(LipDecodeHead):
    """1-Lipschitz head with the dense outputs of FCOS: classes, and sides of a box, per location.

    An orthogonal strided convolution halves the resolution; behind pointwise blocks one orthogonal
    1x1 layer gives the K classes, the background, and the logarithms of the distances to the left,
    top, right and bottom side, divided by a gain. There is no centre-ness: the margin of the class
    ranks boxes, and boxes that are seen from their edge can be left out (``max_skew`` of
    :class:`DetectionRule`).

    Boxes to learn from are those around the connected components of the label map. As in FCOS a
    location has the class of a box if it lies in it and near its middle, of the smallest if there
    are several. Elsewhere it is background, unless the pixel in its middle is ignored or belongs to
    a class of objects: its class is then left out, and on an object it still learns the box.

    Source: Tian et al., "FCOS: Fully Convolutional One-Stage Object Detection", ICCV 2019, with
    its centre sampling.

    Args:
        in_channels: Channels of the feature map.
        channels: Channels behind the strided convolution, a multiple of 8.
        object_classes: Labels of the K classes of objects.
        depth: Number of pointwise blocks. Defaults to 2.
        base_side: Side of a box in pixels where its output is 0. Defaults to 16.
        side_gain: Change of the logarithm of a side per change of its output
            (:class:`DetectionRule`). Defaults to 4.
        min_pixels: Components with fewer pixels are no objects. Defaults to 50.
        center_radius: Distance in locations from the middle of a box, in rows and in columns,
            within which they have its class. Defaults to 1.5.
        box_weight: Weight of the loss of the sides. Defaults to 1.
        layers_cfg: Keyword arguments of :class:`LayerFactory`.
        **kwargs: Arguments of :class:`LipDecodeHead`; ``loss_decode`` is the loss of the classes.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        object_classes: Sequence[int],
        depth: int = 2,
        base_side: float = 16.0,
        side_gain: float = 4.0,
        min_pixels: int = 50,
        center_radius: float = 1.5,
        box_weight: float = 1.0,
        layers_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        outputs = len(object_classes) + 5
        super().__init__(
            in_channels, channels, num_classes=outputs, layers_cfg=layers_cfg, **kwargs
        )
        self.down = LayerFactory.from_cfg(layers_cfg).down(in_channels, channels, 2)
        self.stage = RolledStage(channels, depth)
        self.object_classes = list(object_classes)
        self.base_side, self.side_gain = base_side, side_gain
        self.min_pixels = min_pixels
        self.center_radius = center_radius
        self.box_weight = box_weight

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Map the backbone's features to outputs (N, K + 5, h, w)."""
        features = self.stage(self.down(self._transform_inputs(inputs)))
        return self.upsample_and_classify(features)

    def loss_by_feat(
        self, seg_logits: Tensor, batch_data_samples: list[SegDataSample]
    ) -> dict[str, Tensor]:
        """Losses of outputs (N, K + 5, h, w): of the classes, and of the sides of the boxes."""
        size = (seg_logits.shape[2], seg_logits.shape[3])
        targets = [
            self.targets(sample.gt_sem_seg.data[0].numpy(force=True), size)
            for sample in batch_data_samples
        ]
        classes, sides = (
            torch.stack(part).to(seg_logits.device) for part in zip(*targets, strict=True)
        )
        logits, outputs = seg_logits.split([len(self.object_classes) + 1, 4], dim=1)
        known = ~sides.isnan()
        # Not a product with the mask: 0 * NaN is NaN.
        logarithms = self.side_gain * outputs[known]
        distance = F.smooth_l1_loss(logarithms, sides[known], reduction="sum", beta=0.1)
        return {
            "loss_class": self.loss_decode(logits, classes, ignore_index=self.ignore_index),
            "loss_sides": self.box_weight * distance / max(1, int(known.sum())),
        }

    def targets(self, labels: np.ndarray, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """What the outputs of an image should say.

        Args:
            labels: Label map (H, W).
            size: Rows h and columns w of the outputs.

        Returns:
            Classes (h, w), K for the background, ``ignore_index`` where ignored; logarithms
            (4, h, w) of the sides over ``base_side``, NaN where there is no box.
        """
        background = len(self.object_classes)
        stride = round(labels.shape[0] / size[0])
        kinds, boxes, numbers = label_boxes(labels, self.object_classes, self.min_pixels)
        rows, columns = ((np.arange(count) + 0.5) * stride for count in size)
        # The middle of the last location may lie beyond an image that is no multiple of the stride.
        middle = np.ix_(
            *(
                np.minimum(places.astype(int), count - 1)
                for places, count in zip((rows, columns), labels.shape, strict=True)
            )
        )
        left_out = [*self.object_classes, self.ignore_index]
        classes = np.where(np.isin(labels[middle], left_out), self.ignore_index, background)
        sides = np.full((4, *size), np.nan, dtype=np.float32)
        for index in np.argsort(-areas(boxes), kind="stable"):  # smaller boxes over larger ones
            left, top, right, bottom = boxes[index]
            x, y = np.meshgrid(columns, rows)
            reach = np.stack((x - left, y - top, right - x, bottom - y))
            away = np.maximum(abs(reach[0] - reach[2]), abs(reach[1] - reach[3])) / 2
            inside = reach.min(0) > 0
            near = inside & (away <= self.center_radius * stride)
            classes[near] = kinds[index]
            learned = near | (inside & (numbers[middle] == index + 1))
            sides[:, learned] = np.log(reach[:, learned] / self.base_side)
        return torch.from_numpy(classes), torch.from_numpy(sides)
