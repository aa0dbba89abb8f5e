"""Generated graphs: the bound is never below the norm of the dense Jacobian.

The weights are computed in float32 where the bound is made and in float64 where the Jacobian is,
hence the tolerance of 1e-6.
"""

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mmseg_lipcert.lipschitz import audit

SHAPE = (1, 2, 4, 4)
OPERATIONS = (
    "conv",
    "strided conv",
    "transposed conv",
    "maxmin",
    "one maximum",
    "split",
    "overlap",
    "cat",
    "sum",
    "residual",
    "sll",
    "leaky",
    "scale",
    "batch norm",
    "shuffle",
    "pad",
    "circular conv",
    "max pool",
    "avg pool",
    "bilinear",
    "mean",
    "centering",
    "choice by a mask",
    "fill by a mask",
    "adaptive max pool",
    "softplus",
    "logsumexp",
    "largest",
    "top",
    "antialiased",
    "nearest",
    "shift",
    "roll",
    "contraction",
)


class RandomGraph(nn.Module):
    """Runs a list of (operation, choice) on a growing list of tensors and returns the last ones."""

    def __init__(self, steps, seed):
        super().__init__()
        self.steps = steps
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("noise", torch.randn(4000, generator=generator))

    def weight(self, index, *shape):
        size = torch.Size(shape).numel()
        return self.noise.roll(61 * index + 1)[:size].view(shape)

    def forward(self, x):
        values = [x]
        for index, (operation, choice) in enumerate(self.steps):
            value = values[-1 - choice % min(2, len(values))]
            values.extend(self.apply_step(operation, choice, index, value, values))
        return tuple(values[-2:])

    def apply_step(self, operation, choice, index, x, values):
        channels, height, width = x.shape[1:]
        if operation == "conv":
            weight = self.weight(index, 1 + choice % 3, channels, 1 + choice % 3, 2)
            return [F.conv2d(x, weight, padding=1, dilation=1 + choice % 2)]
        if operation == "strided conv":
            return [F.conv2d(x, self.weight(index, 3, channels, 3, 2), stride=2, padding=1)]
        if operation == "transposed conv":
            weight = self.weight(index, channels, 2, 3, 2)
            return [F.conv_transpose2d(x, weight, stride=1 + choice % 2, padding=1)]
        if operation == "circular conv":
            pads = (1, choice % 2, 1, 1)
            return [
                F.conv2d(F.pad(x, pads, mode="circular"), self.weight(index, 2, channels, 2, 2))
            ]
        if operation in ("maxmin", "one maximum"):
            a, b = x, x.flip(1 + choice % 3)
            high, low = torch.maximum(a, b), torch.minimum(b, a)
            return [torch.cat([high, 0.5 * low], 1)] if operation == "maxmin" else [high]
        if operation == "split" and channels > 1:
            return list(x.split([1, channels - 1], 1))
        if operation == "overlap" and width > 1:
            return [torch.cat([x[..., :-1], x[..., 1:]], choice % 2 + 1)]
        if operation == "cat":
            return [torch.cat([y for y in values[-3:] if y.shape[2:] == x.shape[2:]], 1)]
        if operation == "sum":
            return [sum(y * (0.5 + k) for k, y in enumerate(values) if y.shape == x.shape)]
        if operation == "residual":
            weight = self.weight(index, channels, channels, 3, 3)
            return [0.7 * x + 0.3 * F.relu(F.conv2d(x, weight, padding=1))]
        if operation == "sll":
            weight = 0.3 * self.weight(index, 2, channels, 3, 3)
            inner = F.leaky_relu(F.conv2d(x, weight, padding=1), (choice % 3 - 1) * 0.5)
            return [x - (1 + choice % 2) * F.conv_transpose2d(inner, weight, padding=1)]
        if operation == "leaky":
            return [F.leaky_relu(x, choice * 0.5)]
        if operation == "scale":
            return [x * self.weight(index, channels, 1, 1)]
        if operation == "batch norm":
            mean, scale = self.weight(index, channels), self.weight(index + 1, channels)
            return [F.batch_norm(x, mean, scale.abs() + 0.1, scale)]
        if operation == "shuffle" and height % 2 == width % 2 == 0:
            return [F.pixel_unshuffle(x, 2)]
        if operation == "pad" and min(height, width) > 1:
            mode = ("constant", "reflect", "replicate", "circular")[choice % 4]
            return [F.pad(x, (1, 0, 1, 1), mode=mode)]
        if operation == "max pool" and min(height, width) > 1:
            return [F.max_pool2d(x, 2, 1 + choice % 2, padding=choice % 2)]
        if operation == "avg pool" and min(height, width) > 1:
            return [F.avg_pool2d(x, 2, 1 + choice % 2, padding=choice % 2)]
        if operation == "bilinear":
            return [F.interpolate(x, size=(5, 3), mode="bilinear", align_corners=bool(choice % 2))]
        if operation == "mean":
            return [x.mean(1 + choice % 3, keepdim=True) + x]
        if operation == "centering":
            return [x - x.mean((2, 3), keepdim=True)]
        if operation in ("choice by a mask", "fill by a mask"):
            mask = self.weight(index, *x.shape[1 + choice % 3 :]) > 0
            if operation == "fill by a mask":
                return [x.masked_fill(mask, 0.5)]
            return [torch.where(mask, x, (1 + choice) * x.flip(1 + choice % 3))]
        if operation == "adaptive max pool":
            return [F.adaptive_max_pool2d(x, (1 + choice % 3, 2))]
        if operation == "softplus":
            return [F.softplus(x, beta=0.5 + choice)]
        if operation == "logsumexp":
            return [x.logsumexp((1, 3) if choice % 2 else (2,), keepdim=True)]
        if operation == "largest":
            return [x.amax((1, 2), keepdim=True) if choice % 2 else x.amin(3, keepdim=True)]
        if operation == "top":
            dim = 1 + choice % 3
            return [x.topk((x.shape[dim] + 1) // 2, dim, largest=choice < 3).values]
        if operation == "antialiased" and min(height, width) > 1:
            mode = "bicubic" if choice % 2 else "bilinear"
            return [F.interpolate(x, size=(2, 3 + choice), mode=mode, antialias=True)]
        if operation == "nearest":
            return (
                [F.interpolate(x, scale_factor=(0.6, 1.7), mode="nearest")] if height > 1 else [x]
            )
        if operation == "shift" and channels > 1 and min(height, width) > 1:
            pads = ((1, -1, 0, 0), (-1, 1, 0, 0), (0, 0, 1, -1), (0, 0, -1, 1))[choice % 4]
            return [torch.cat([F.pad(x[:, :1], pads), x[:, 1:]], 1)]
        if operation == "roll":
            return [torch.cat([x[:, : channels // 2], x[:, channels // 2 :].roll(1, 2)], 1)]
        if operation == "contraction":
            matrix = torch.linalg.qr(self.weight(index, channels, channels)).Q
            scales = self.weight(index + 1, channels).sigmoid()
            return [F.conv2d(x, (matrix * scales)[:, :, None, None])]
        return [x]


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 5)), min_size=1, max_size=6
    ),
    seed=st.integers(0, 1000),
)
def test_bound_is_never_below_the_jacobian_of_random_graphs(steps, seed, jacobian_norm):
    model = RandomGraph(steps, seed).eval()
    upper = audit(model, SHAPE).upper
    generator = torch.Generator().manual_seed(seed)
    model.double()
    for scale in (0.1, 3.0):
        image = scale * torch.randn(SHAPE, generator=generator)
        assert jacobian_norm(model, image) <= upper * (1 + 1e-6)
