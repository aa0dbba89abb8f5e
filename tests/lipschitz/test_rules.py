"""Every rule against the dense Jacobian: never below it, and tight for linear operations."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_lipcert.lipschitz import UnboundedOperationError, audit, energy
from mmseg_lipcert.lipschitz.composition import Composition
from mmseg_lipcert.lipschitz.rules import selection
from mmseg_lipcert.lipschitz.rules.elementwise import SLOPES
from mmseg_lipcert.lipschitz.traced_graph import TracedGraph

SHAPE = (1, 4, 6, 6)


class Function(nn.Module):
    """Wraps a function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


MASK = torch.arange(36).view(6, 6) % 5 < 2


def maxmin(x):
    a, b = x.chunk(2, dim=1)
    return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=1)


LINEAR = {
    "scale": lambda x: x * 3,
    "scale per channel": lambda x: x * torch.tensor([1.0, -5, 2, 0]).view(4, 1, 1),
    "division": lambda x: x / torch.tensor([[0.5], [1.0], [2.0], [4.0], [1.0], [1.0]]),
    "affine": lambda x: (x - 0.5) / 0.25,
    "constant minus input": lambda x: 2 - x,
    "scaled constant minus input": lambda x: torch.rsub(x, 1.0, alpha=2),
    "sum with itself": lambda x: x + x,
    "difference with itself": lambda x: torch.cat([x - 0.5 * x, x], 1)[:, 4:],
    "sum of halves": lambda x: x[:, :2] + x[:, 2:],
    "weighted sum": lambda x: torch.add(x[:, :2], x[:, 2:], alpha=3),
    "broadcast sum": lambda x: x[:, :, :, :1] + x[:, :, :1, 1:],
    "broadcast clamp": lambda x: torch.clamp(x[:, :1], min=torch.full((1, 5, 1, 1), -100.0)),
    "broadcast clamp_max": lambda x: torch.clamp_max(x[:, :, :1], torch.full((7, 1), 100.0)),
    "centering": lambda x: x - x.mean(dim=(2, 3), keepdim=True),
    "cat of both": lambda x: torch.cat([x, 2 * x], 1),
    "split": lambda x: torch.cat(x.split(1, 1)[::-1], 1),
    "overlapping slices": lambda x: torch.cat([x[:, :3], x[:, 1:]], 1),
    "strided slices": lambda x: torch.cat([x[:, ::2], x[:, 1::2]], 1),
    "select": lambda x: torch.stack([x[:, 0], x[:, 2], x[:, 0]], 1),
    "unbind": lambda x: torch.stack(x.unbind(1), 2),
    "flatten": lambda x: x.flatten(1) * torch.arange(144.0),
    "permute": lambda x: x.permute(0, 2, 3, 1) * torch.tensor([1.0, 2, 3, 4]),
    "transpose": lambda x: x.transpose(1, 2).unsqueeze(1).squeeze(1),
    "roll and flip": lambda x: x.roll((1, 2), (2, 3)).flip(1),
    "expand": lambda x: x[:, :1].expand(-1, 5, -1, -1),
    "repeat": lambda x: x.repeat(1, 1, 2, 1),
    "index": lambda x: x[:, [0, 0, 1]],
    "mask": lambda x: x.tril(),
    "zero padding": lambda x: F.pad(x, (1, 0, 2, 3)),
    "negative padding": lambda x: F.pad(x, (-1, 0, -2, 1)),
    "reflect padding": lambda x: F.pad(x, (2, 1, 1, 0), mode="reflect"),
    "replicate padding": lambda x: F.pad(x, (2, 1, 1, 0), mode="replicate"),
    "circular padding": lambda x: F.pad(x, (2, 1, 1, 0), mode="circular"),
    "pixel shuffle": lambda x: F.pixel_shuffle(x, 2),
    "pixel unshuffle": lambda x: F.pixel_unshuffle(x, 2),
    "channel shuffle": lambda x: F.channel_shuffle(x, 2),
    "mean": lambda x: x.mean((2, 3)),
    "total mean": lambda x: x.mean(),
    "sum": lambda x: x.sum(1, keepdim=True),
    "average pooling": lambda x: F.avg_pool2d(x, 2),
    "overlapping average pooling": lambda x: F.avg_pool2d(x, 3, 1, 1),
    "average pooling without padding": lambda x: F.avg_pool2d(
        x, 3, 2, 1, ceil_mode=True, count_include_pad=False
    ),
    "average pooling with divisor": lambda x: F.avg_pool2d(x, 2, divisor_override=3),
    "adaptive average pooling": lambda x: F.adaptive_avg_pool2d(x, (4, 1)),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "nearest size": lambda x: F.interpolate(x, size=(7, 3)),
    "nearest exact": lambda x: F.interpolate(x, size=(7, 3), mode="nearest-exact"),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "bilinear fraction": lambda x: F.interpolate(x, scale_factor=(1.3, 0.7), mode="bilinear"),
    "bilinear size": lambda x: F.interpolate(x, size=(11, 4), mode="bilinear", align_corners=True),
    "bicubic": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
    "area": lambda x: F.interpolate(x, size=(4, 3), mode="area"),
    "antialiased bilinear": lambda x: F.interpolate(
        x, size=(4, 3), mode="bilinear", antialias=True
    ),
    "antialiased bicubic": lambda x: F.interpolate(
        x, scale_factor=(0.7, 1.6), mode="bicubic", antialias=True
    ),
    "choice by a mask": lambda x: torch.where(MASK, x, 3 * x.flip(1)),
    "choice from constants": lambda x: torch.where(MASK, torch.ones(3, 4, 6, 6).to(x), x[:, :1]),
    "filled by a mask": lambda x: 2 * x.masked_fill(MASK, 7.0),
    "filled by a value": lambda x: x.masked_fill(MASK, x[0, 0, 0, 0]),
    "matrix": lambda x: x @ torch.arange(12.0).view(6, 2).to(x),
    "matrix on the left": lambda x: torch.arange(12.0).view(2, 6).to(x) @ x,
    "stack of matrices": lambda x: torch.arange(8.0).view(4, 2, 1).to(x) @ x[:, :, :1],
    "matrix vector": lambda x: x @ torch.arange(6.0).to(x),
    "in-place": lambda x: x.clone().mul_(3).add_(1),
    "in-place slice": lambda x: _assign(x),
    "einsum of constants": lambda x: x * torch.einsum("ij->i", torch.ones(6, 2)).to(x),
    "constant output beside": lambda x: (x, torch.zeros_like(x) + 1)[0],
}


def _assign(x):
    y = x.clone()
    y[:, :2] = 0.5 * y[:, 2:]
    return y


@pytest.mark.parametrize("name", LINEAR)
def test_linear_operations_are_bounded_tightly(name, jacobian_norm):
    model = Function(LINEAR[name]).eval()
    truth = jacobian_norm(model, torch.randn(SHAPE))
    result = audit(model, SHAPE)
    assert truth * (1 - 1e-9) <= result.upper <= truth * (1 + 1e-3) + 1e-9


ONE_LIPSCHITZ = {
    "maxmin": maxmin,
    "maxmin of the other spelling": lambda x: torch.cat(
        [torch.min(*x.chunk(2, 1)), torch.max(*x.chunk(2, 1))], 1
    ),
    "maximum with a constant": lambda x: torch.maximum(x, torch.tensor(0.3)),
    "relu": F.relu,
    "leaky relu": lambda x: F.leaky_relu(x, 0.2),
    "elu": F.elu,
    "celu": F.celu,
    "hardtanh": F.hardtanh,
    "clamp": lambda x: x.clamp(-1, 1),
    "abs": torch.abs,
    "dropout": lambda x: F.dropout(x, 0.5, training=False),
    "sort": lambda x: x.sort(dim=1).values,
    "max pooling": lambda x: F.max_pool2d(x, 2),
    "max pooling with remainder": lambda x: F.max_pool2d(x, 4, ceil_mode=True),
    "largest": lambda x: x.amax((2, 3)),
    "largest of one dimension": lambda x: x.max(1).values,
    "smallest": lambda x: x.amin(1, keepdim=True),
    "largest three": lambda x: x.topk(3, dim=2).values,
    "smallest two": lambda x: x.topk(2, dim=-1, largest=False).values,
    "adaptive max pooling": lambda x: F.adaptive_max_pool2d(x, (3, 2)),
    "logsumexp": lambda x: (9 * x).logsumexp((1, 3)) / 9,
    "sharp softplus": lambda x: F.softplus(x, beta=7.0),
    "softplus at its threshold": lambda x: F.softplus(x + 20),
}


@pytest.mark.parametrize("name", ONE_LIPSCHITZ)
def test_one_lipschitz_operations_have_bound_one(name, jacobian_norm):
    model = Function(ONE_LIPSCHITZ[name]).eval()
    result = audit(model, SHAPE, 3 * torch.randn(2, *SHAPE[1:]))
    assert result.upper == pytest.approx(1.0, abs=1e-8)
    assert result.lower == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", SLOPES)
def test_slopes_are_above_every_difference_quotient(name):
    function = getattr(torch, name, None) or getattr(F, name, None) or F.logsigmoid
    if name in ("clamp_min", "clamp_max"):
        activation = lambda x: function(x, 0.3)  # noqa: E731
    elif name == "clamp":
        activation = lambda x: function(x, -1, 1)  # noqa: E731
    else:
        activation = function
    grid = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    quotients = activation(grid).diff().abs() / grid.diff()
    assert float(quotients.max()) <= SLOPES[name] * (1 + 1e-9)
    assert float(quotients.max()) >= SLOPES[name] * 0.995


def test_gelu_bound_holds_for_the_tanh_approximation():
    grid = torch.linspace(-6, 6, 200_001, dtype=torch.float64)
    quotients = F.gelu(grid, approximate="tanh").diff().abs() / grid.diff()
    assert float(quotients.max()) <= SLOPES["gelu"]


@pytest.mark.parametrize(
    "module, slope",
    [(nn.SELU(), 1.0507 * 1.67326), (nn.ELU(alpha=3.0), 3.0), (nn.PReLU(4, init=2.5), 2.5)],
)
def test_parametrised_activations(module, slope, jacobian_norm):
    model = module.eval()
    assert audit(model, SHAPE).upper == pytest.approx(slope, rel=1e-4)
    assert jacobian_norm(model.double(), -0.001 - 0.001 * torch.rand(SHAPE)) <= slope * 1.0001


def test_softmax_jacobian_never_exceeds_one_half(jacobian_norm):
    model = nn.Softmax(dim=1).eval()
    assert audit(model, SHAPE).upper == pytest.approx(0.5)
    balanced = torch.full(SHAPE, -50.0)
    balanced[:, :2] = 0
    assert jacobian_norm(model, balanced) == pytest.approx(0.5)


def test_batch_norm_uses_the_running_variance(jacobian_norm):
    norm = nn.BatchNorm2d(4)
    norm.running_var.copy_(torch.tensor([1.0, 0.01, 4.0, 1.0]))
    norm.weight.data = torch.tensor([1.0, -2.0, 1.0, 1.0])
    norm.eval()
    upper = audit(norm, SHAPE).upper
    assert upper == pytest.approx(2 / math.sqrt(0.01 + 1e-5))
    assert upper >= jacobian_norm(norm.double(), torch.randn(SHAPE)) * (1 - 1e-9)


def test_batch_norm_after_a_convolution_is_bounded_jointly(jacobian_norm):
    norm = nn.BatchNorm2d(4)
    norm.running_var.copy_(torch.tensor([1.0, 0.01, 100.0, 100.0]))
    model = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), norm).eval()
    model[0].weight.data = torch.diag(torch.tensor([1.0, 0.1, 10.0, 10.0])).view(4, 4, 1, 1)
    assert audit(model, SHAPE).upper == pytest.approx(1.0, rel=1e-3)


def test_grouped_convolutions_weight_each_group_of_channels(jacobian_norm):
    first = nn.Conv2d(4, 4, 1, groups=4, bias=False)
    first.weight.data = torch.tensor([4.0, 1.0, 1.0, 2.0]).view(4, 1, 1, 1)
    second = nn.Conv2d(4, 4, 1, groups=4, bias=False)
    second.weight.data = torch.tensor([0.25, 1.0, 1.0, 0.5]).view(4, 1, 1, 1)
    assert audit(nn.Sequential(first, second).eval(), SHAPE).upper == pytest.approx(1.0)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_weighted_outputs_of_convolutions(transposed, groups, jacobian_norm):
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    conv = kind(4, 6, 2, stride=2, groups=groups, bias=False)
    weights = torch.tensor([3.0, 0.1, 0.1, 1.0, 0.2, 0.1]).view(6, 1, 1)
    model = nn.Sequential(conv, Function(lambda x: x * weights)).eval()
    upper = audit(model, SHAPE).upper
    truth = jacobian_norm(model.double(), torch.randn(SHAPE))
    assert truth * (1 - 1e-9) <= upper <= 1.05 * truth


def test_linear_layers_with_unequal_output_weights(jacobian_norm):
    model = nn.Sequential(nn.Linear(6, 3), Function(lambda x: x * torch.tensor([5.0, 0.1, 0.1])))
    upper = audit(model.eval(), (2, 6)).upper
    truth = jacobian_norm(model.double(), torch.randn(2, 6))
    assert truth * (1 - 1e-9) <= upper <= truth * (1 + 1e-6)


@pytest.mark.parametrize("kernel, padding", [(3, 1), (2, 1), (3, 3), (1, 2)])
def test_circular_convolution_is_bounded_jointly_with_its_padding(kernel, padding, jacobian_norm):
    conv = nn.Conv2d(4, 4, kernel, padding=padding, padding_mode="circular", bias=False).eval()
    upper = audit(conv, SHAPE).upper
    truth = jacobian_norm(conv.double(), torch.randn(SHAPE))
    assert truth * (1 - 1e-9) <= upper
    if padding == kernel // 2:
        assert upper <= 1.3 * truth


@pytest.mark.parametrize("shape", [SHAPE, (6, 2), (6,)])
def test_broadcast_products_with_a_stack_of_matrices_count_the_copies(shape, jacobian_norm):
    model = Function(lambda x: torch.ones(5, 1, 3, 6).to(x) @ x).eval()
    upper = audit(model, shape).upper
    assert jacobian_norm(model, torch.randn(shape)) <= upper * (1 + 1e-9)


class ReadsBits(nn.Module):
    def forward(self, x):
        return x.view(torch.float64)


class DropsWithoutSaying(nn.Module):
    def forward(self, x):
        return torch.native_dropout(x, 0.5, None)[0]


@pytest.mark.parametrize(
    ("module", "reason"), [(ReadsBits, "read as another type"), (DropsWithoutSaying, "training")]
)
def test_copies_that_are_none_are_refused(module, reason):
    with pytest.raises(UnboundedOperationError, match=reason):
        audit(module().eval(), (1, 2, 4, 4))


def test_products_of_data_are_refused_by_name():
    class Gate(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x)

    with pytest.raises(UnboundedOperationError, match="aten::mul") as caught:
        audit(nn.Sequential(nn.Identity(), Gate()).eval(), SHAPE)
    assert caught.value.module_path == "1"
    assert caught.value.operation == "aten::mul"


REFUSED = {
    "batch norm without statistics": nn.BatchNorm2d(4, track_running_stats=False),
    "attention": Function(lambda x: torch.softmax(x @ x.transpose(2, 3), -1) @ x),
    "square": Function(lambda x: x**2),
    "quotient": Function(lambda x: 1 / x),
    "normalisation": Function(lambda x: F.normalize(x, dim=1)),
    "discontinuous": Function(lambda x: F.hardshrink(x)),
    "rounded quotient": Function(lambda x: torch.div(x, 2, rounding_mode="floor")),
    "half precision": Function(lambda x: x.half().float()),
    "integers": Function(lambda x: x.int().float()),
    "argmax": Function(lambda x: x.max(1).indices.float()),
    "data-dependent index": Function(lambda x: x.gather(1, x.argmax(1, keepdim=True))),
    "noise": Function(lambda x: x + torch.randn(4, 1, 1)),
    "noise like": Function(lambda x: x + torch.randn_like(x)),
    "dropout that stays on": Function(lambda x: F.dropout(x, 0.5, training=True)),
    "antialiased column": Function(
        lambda x: F.interpolate(x[..., :1], size=(4, 1), mode="bilinear", antialias=True)
    ),
    "indices of the largest": Function(lambda x: x.topk(2, 1).indices.float()),
    "largest in no order": Function(lambda x: x.topk(2, 1, sorted=False).values),
    "choice by the input": Function(lambda x: torch.where(x > 0, x, 0.0)),
    "softplus of a negative beta": Function(lambda x: F.softplus(x, beta=-1.0)),
    "softplus that jumps": Function(lambda x: F.softplus(x, threshold=5)),
    "softplus that jumps in float64": Function(lambda x: F.softplus(x.double())),
    "indices of a pooling": Function(lambda x: F.max_pool2d(x, 2, return_indices=True)[1].float()),
}


@pytest.mark.parametrize("name", REFUSED)
def test_operations_without_a_finite_bound_are_refused(name):
    with pytest.raises(UnboundedOperationError):
        audit(REFUSED[name].eval(), SHAPE)


UNBOUNDED = {
    "layer norm": (nn.LayerNorm(6), "no global bound.* up to 1 / sqrt.eps. = 316.2"),
    "group norm": (nn.GroupNorm(2, 4, eps=1e-4), "no global bound.* = 100 times"),
    "group norm without eps": (nn.GroupNorm(2, 4, eps=0), "no global bound.* without limit"),
    "instance norm": (nn.InstanceNorm2d(4), "no global bound"),
    "rms norm": (nn.RMSNorm(6), "no global bound.* = 2896"),
    "log-softmax": (nn.LogSoftmax(1), "no global bound below sqrt.n. = 2 for n = 4"),
}


@pytest.mark.parametrize("name", UNBOUNDED)
def test_refusals_say_why_there_is_no_bound(name):
    module, reason = UNBOUNDED[name]
    with pytest.raises(UnboundedOperationError, match=reason):
        audit(module.eval(), SHAPE)


def test_refusals_name_the_slopes_that_are_reached(jacobian_norm):
    flat = torch.zeros(1, 4, 1, 2)
    assert jacobian_norm(nn.GroupNorm(1, 4, eps=1e-4).double(), flat) == pytest.approx(100)
    certain = torch.zeros(1, 4, 1, 1)
    certain[0, 0] = 50
    assert jacobian_norm(nn.LogSoftmax(1), certain) == pytest.approx(2)


def test_instance_norm_with_running_statistics_is_a_batch_norm():
    norm = nn.InstanceNorm2d(4, track_running_stats=True).eval()
    norm.running_var.fill_(0.25)
    assert audit(norm, SHAPE).upper == pytest.approx(2, rel=1e-4)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x - x.mean((2, 3), keepdim=True, dtype=torch.bfloat16),
        lambda x: x + x.sum(1, keepdim=True, dtype=torch.float16),
        lambda x: torch.softmax(x, 1, dtype=torch.bfloat16).float(),
        lambda x: F.conv2d(x.to(torch.float16), torch.ones(2, 4, 1, 1).half()).float(),
        lambda x: in_autocast(x) + x[:, :2],
    ],
)
def test_half_precision_anywhere_is_refused(function):
    with pytest.raises(UnboundedOperationError, match="only float32 and float64"):
        audit(Function(function).eval(), SHAPE)


def in_autocast(x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return F.conv2d(x, torch.ones(2, 4, 1, 1)).float()


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "size, factor", [((133, 2), 1.0052001016797198), ((7, 133), 1.0052001016797198), ((5, 6), 1.7)]
)
def test_nearest_upsampling_counts_the_copies_that_the_forward_pass_makes(
    size, factor, layout, exact
):
    up = Function(
        lambda x: F.interpolate(
            x, scale_factor=factor, mode="nearest-exact" if exact else "nearest"
        )
    )
    upper = audit(up.eval(), (1, 3, *size)).upper
    positions = torch.arange(3.0 * size[0] * size[1]).view(1, 3, *size)
    copies = up(positions.to(memory_format=layout)).flatten().long().bincount().max()
    assert math.sqrt(copies) <= upper <= math.sqrt(copies) * (1 + 1e-9)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_paddings_copy_in_the_forward_pass_what_their_backward_pass_adds_up(mode):
    for size in range(2, 40, 3):
        source = torch.arange(1.0, size * 3 + 1, dtype=torch.float64).view(1, 1, size, 3)
        source.requires_grad_()
        pads = (1, 2, size // 2, size - 1)
        padded = F.pad(source, pads, mode=mode)
        (counts,) = torch.autograd.grad(padded.sum(), source)
        found = padded.detach().flatten().long().bincount(minlength=size * 3 + 1)[1:]
        assert torch.equal(counts.flatten().long(), found)


@pytest.mark.parametrize("power", [-152, -170, -320])
def test_gains_that_underflow_are_not_taken_for_zero(power):
    gain = 10.0**power
    conv = nn.Conv2d(4, 4, 1, bias=False).double().eval()
    nn.init.constant_(conv.weight, gain)
    truth = float(torch.linalg.matrix_norm(conv.weight.detach()[:, :, 0, 0], 2))
    assert truth <= audit(conv, SHAPE).upper <= 1e-40
    scaled = Function(lambda x: x * gain)
    assert 0 < audit(nn.Sequential(scaled, conv, scaled).eval(), SHAPE).upper <= 1e-40
    back = Function(lambda x: x * 1e98)
    assert audit(nn.Sequential(conv, back).eval(), SHAPE).upper >= truth * 1e98


def test_gains_that_overflow_are_refused():
    conv = nn.Conv2d(4, 4, 1).double()
    with pytest.raises(UnboundedOperationError, match="must not exceed 1e.200"):
        audit(nn.Sequential(conv, Function(lambda x: x * 1e120)).eval(), SHAPE)


def test_numbers_keep_their_double_precision(jacobian_norm):
    conv = nn.Conv2d(4, 4, 1, bias=False).double()
    model = nn.Sequential(conv, Function(lambda x: x * 0.7)).eval()  # float32 rounds 0.7 down
    assert audit(model, SHAPE).upper >= jacobian_norm(model, torch.zeros(SHAPE))


def shift_by_padding(x):
    """Four groups of channels move by one pixel, each to another side; zeros come in."""
    pads = ((1, -1, 0, 0), (-1, 1, 0, 0), (0, 0, 1, -1), (0, 0, -1, 1))
    return torch.cat([F.pad(part, pad) for part, pad in zip(x.chunk(4, 1), pads, strict=True)], 1)


def shift_by_slices(x):
    return torch.cat(
        [F.pad(x[:, :1, :, :-1], (1, 0)), F.pad(x[:, 1:3, 2:], (0, 0, 0, 2)), x[:, 3:]], 1
    )


def shift_by_rolls(x):
    return torch.cat([x[:, :2].roll(1, 2), x[:, 2:].roll((1, -2), (2, 3))], 1)


SHIFTS = [shift_by_padding, shift_by_slices, shift_by_rolls]


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("large", [False, True])
def test_shifts_of_disjoint_channel_groups_have_norm_one(shift, large, jacobian_norm, monkeypatch):
    if large:  # weights that differ both between channels and pixels are too many to be kept
        for module in (energy, selection):
            monkeypatch.setattr(module, "MOST_ENTRIES", 20)
    orthogonal = torch.linalg.qr(torch.randn(4, 4)).Q
    contraction = nn.Conv2d(4, 4, 1)
    contraction.weight.data = (orthogonal * torch.tensor([1.0, 0.9, 0.3, 0.0])).view(4, 4, 1, 1)
    model = nn.Sequential(contraction, Function(shift), nn.ReLU(), contraction, Function(shift))
    upper = audit(model.eval(), SHAPE).upper
    assert upper == pytest.approx(1, abs=1e-6)
    assert jacobian_norm(model.double(), torch.randn(SHAPE)) <= upper * (1 + 1e-6)
    assert audit(Function(shift).eval(), SHAPE).upper == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("shift", SHIFTS)
def test_shifts_of_large_images_have_norm_one(shift):
    with torch.no_grad():
        graph = TracedGraph(Function(shift).eval(), torch.zeros(1, 4, 1024, 2048))
    assert Composition(graph, graph.outputs).bound()[0] == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("size", [(6, 6), (7, 5), (5, 2)])
@pytest.mark.parametrize("result", [(2, 2), (3, 4), (1, 5)])
def test_adaptive_max_pooling_counts_the_windows_over_a_pixel(size, result, jacobian_norm):
    model = Function(lambda x: F.adaptive_max_pool2d(x, result)).eval()
    upper = audit(model, (1, 2, *size)).upper
    norms = []
    for pixel in range(size[0] * size[1]):  # the largest value of all its windows
        image = torch.rand(1, 2, *size)
        image.view(2, -1)[:, pixel] = 2
        norms.append(jacobian_norm(model, image))
    assert max(norms) == pytest.approx(upper, rel=1e-9)


def test_softplus_has_no_pair_that_expands_beyond_its_rounding():
    grid = torch.linspace(15, 25, 100_001)
    for beta in (0.5, 1.0, 3.0):
        values = F.softplus(grid / beta, beta=beta)
        steps = values.double().diff().abs() - (grid / beta).double().diff()
        assert float((steps / values[1:]).max()) <= 2 * torch.finfo(torch.float32).eps


def test_constant_outputs_have_bound_zero():
    assert audit(Function(lambda x: torch.ones_like(x)).eval(), SHAPE).upper == 0
