from __future__ import annotations

import torch.nn.functional as F
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn


class NativeLogits(nn.Module):
    """The map that a Lipschitz certificate is about: preprocessed image to native logits.

    Zero-pads the image to a multiple of the backbone's stride (an isometry), runs backbone, neck
    and decode head, and cuts off the logits of the padding (norm 1). Nothing is interpolated: when
    the head works at a stride, the logits stay at that stride.

    With ``mirror`` the logits are the mean of those of the image and, mirrored back, those of its
    mirror image: a mean of two maps with the same bound has that bound.

    Args:
        segmentor: The segmentor whose modules are used (not copied).
        mirror: Whether to average with the mirror image. Defaults to False.
    """

    def __init__(self, segmentor: EncoderDecoder, mirror: bool = False) -> None:
        super().__init__()
        self.mirror = mirror
        self.backbone = segmentor.backbone
        self.neck = segmentor.neck if segmentor.with_neck else None
        self.decode_head = segmentor.decode_head

    def forward(self, inputs: Tensor) -> Tensor:
        """Map preprocessed images (N, 3, H, W) to logits (N, K, ceil(H/s), ceil(W/s))."""
        if not self.mirror:
            return self._logits(inputs)
        return (self._logits(inputs) + self._logits(inputs.flip(3)).flip(3)) / 2

    def _logits(self, inputs: Tensor) -> Tensor:
        height, width = inputs.shape[2:]
        divisor = getattr(self.backbone, "total_stride", 1)
        inputs = F.pad(inputs, (0, -width % divisor, 0, -height % divisor))
        features = self.backbone(inputs)
        if self.neck is not None:
            features = self.neck(features)
        logits = self.decode_head(features)
        stride = -(-inputs.shape[2] // logits.shape[2])
        return logits[:, :, : -(-height // stride), : -(-width // stride)]
