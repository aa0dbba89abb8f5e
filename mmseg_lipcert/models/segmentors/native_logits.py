from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn


class NativeLogits(nn.Module):
    """The map that a Lipschitz certificate is about: preprocessed image to native logits.

    Zero-pads the image to a multiple of the backbone's stride (an isometry), runs backbone, neck
    and decode head, and cuts off the logits of the padding (norm 1). Nothing is interpolated: when
    the head works at a stride, the logits stay at that stride.

    With several views the logits are the mean of those of the image as it is shifted, behind zeros,
    and mirrored, each moved back. Shifting, mirroring and cutting do not stretch distances, so that
    the mean has the bound of the network: accuracy is bought by forward passes, not by robustness.

    Args:
        segmentor: The segmentor whose modules are used (not copied).
        shifts: Rows and columns by which the network sees the image further down and to the right.
            Defaults to the image as it is.
        mirror: Whether it also sees the mirror image. Defaults to False.
    """

    def __init__(
        self,
        segmentor: EncoderDecoder,
        shifts: Sequence[tuple[int, int]] = ((0, 0),),
        mirror: bool = False,
    ) -> None:
        super().__init__()
        self.shifts, self.mirror = tuple(shifts), mirror
        self.backbone = segmentor.backbone
        self.neck = segmentor.neck if segmentor.with_neck else None
        self.decode_head = segmentor.decode_head

    def forward(self, inputs: Tensor) -> Tensor:
        """Map preprocessed images (N, 3, H, W) to logits (N, K, ceil(H/s), ceil(W/s)).

        Raises:
            ValueError: If a shift is no multiple of the logits' stride.
        """
        height, width = inputs.shape[2:]
        divisor = getattr(self.backbone, "total_stride", 1)
        bottom, right = (
            side + most + -(side + most) % divisor
            for side, most in zip((height, width), map(max, *self.shifts, (0, 0)), strict=True)
        )
        # All views are one batch, which an audit traces once.
        views = [
            F.pad(image, (column, right - width - column, row, bottom - height - row))
            for image in ([inputs, inputs.flip(3)] if self.mirror else [inputs])
            for row, column in self.shifts
        ]
        features = self.backbone(torch.cat(views) if len(views) > 1 else views[0])
        if self.neck is not None:
            features = self.neck(features)
        logits = self.decode_head(features)
        stride = -(-bottom // logits.shape[2])
        found = []
        for number, part in enumerate(logits.chunk(len(views)) if len(views) > 1 else [logits]):
            row, column = shift = self.shifts[number % len(self.shifts)]
            if row % stride or column % stride:
                raise ValueError(
                    f"shifts must be multiples of the logits' stride {stride}, got {shift}"
                )
            top, left = row // stride, column // stride
            part = part[:, :, top : top - (-height // stride), left : left - (-width // stride)]
            found.append(part if number < len(self.shifts) else part.flip(3))
        return mean(found)


class MeanLogits(nn.Module):
    """Mean of the logits of several networks: bounded by the root mean square of their bounds.

    Args:
        networks: The networks.
    """

    def __init__(self, networks: Sequence[NativeLogits]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map preprocessed images (N, 3, H, W) to logits (N, K, ceil(H/s), ceil(W/s)).

        Raises:
            ValueError: If the networks' logits differ in size.
        """
        return mean([network(inputs) for network in self.networks])


def mean(logits: Sequence[Tensor]) -> Tensor:
    """Mean of logits of one size.

    Raises:
        ValueError: If they differ in size.
    """
    first = logits[0]
    for part in logits[1:]:
        if part.shape != first.shape:
            raise ValueError(
                f"logits of {tuple(part.shape[1:])} and {tuple(first.shape[1:])} have no mean: "
                "the networks must have the same stride"
            )
    # One operation, which an audit weighs evenly; a chain of sums it would have to balance.
    return torch.stack(tuple(logits)).mean(0) if len(logits) > 1 else first
