from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn


class NativeLogits(nn.Module):
    """The map that a Lipschitz certificate is about: preprocessed image to native logits.

    Zero-pads the image to a multiple of the backbone's stride (an isometry), runs backbone, neck
    and decode head, and cuts off the logits of the padding (norm 1). Nothing is interpolated: when
    the head works at a stride, the logits stay at that stride.

    Args:
        segmentor: The segmentor whose modules are used (not copied).
    """

    def __init__(self, segmentor: EncoderDecoder) -> None:
        super().__init__()
        self.backbone = segmentor.backbone
        self.neck = segmentor.neck if segmentor.with_neck else None
        self.decode_head = segmentor.decode_head

    def forward(self, inputs: Tensor, shift: tuple[int, int] = (0, 0)) -> Tensor:
        """Map preprocessed images (N, 3, H, W) to logits (N, K, ceil(H/s), ceil(W/s)).

        With a ``shift`` (rows, columns) the network sees the image that much further down and to
        the right, behind zeros, and the logits are moved back.

        Raises:
            ValueError: If the shift is no multiple of the logits' stride.
        """
        height, width = inputs.shape[2:]
        down, right = shift
        divisor = getattr(self.backbone, "total_stride", 1)
        inputs = F.pad(
            inputs, (right, -(width + right) % divisor, down, -(height + down) % divisor)
        )
        features = self.backbone(inputs)
        if self.neck is not None:
            features = self.neck(features)
        logits = self.decode_head(features)
        stride = -(-inputs.shape[2] // logits.shape[2])
        if down % stride or right % stride:
            raise ValueError(
                f"shifts must be multiples of the logits' stride {stride}, got {shift}"
            )
        top, left = down // stride, right // stride
        return logits[:, :, top : top - (-height // stride), left : left - (-width // stride)]


class MeanLogits(nn.Module):
    """Mean of the logits of networks, shifted images and mirror images, each moved back.

    Shifting behind zeros, mirroring and cutting do not stretch distances, so that the mean has the
    mean of the networks' bounds: what it gains in accuracy costs forward passes and no robustness.

    Args:
        networks: The networks; logits of the same size.
        shifts: Rows and columns by which each network sees the image shifted.
        mirror: Whether each also sees the mirror image.
    """

    def __init__(
        self, networks: Sequence[NativeLogits], shifts: Sequence[tuple[int, int]], mirror: bool
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.shifts, self.mirror = shifts, mirror

    def forward(self, inputs: Tensor) -> Tensor:
        """Map preprocessed images (N, 3, H, W) to logits (N, K, ceil(H/s), ceil(W/s))."""
        views = [network(inputs, shift) for network in self.networks for shift in self.shifts]
        if self.mirror:
            mirrored = inputs.flip(3)
            views += [
                network(mirrored, shift).flip(3)
                for network in self.networks
                for shift in self.shifts
            ]
        total = views[0]
        for view in views[1:]:
            if view.shape != total.shape:
                raise ValueError(
                    f"logits of {tuple(view.shape[1:])} and {tuple(total.shape[1:])} have no mean: "
                    "the networks must have the same stride"
                )
            total = total + view
        return total / len(views)
