"""The dense operator of every constrained layer, singular value by singular value."""

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn

from mmseg_lipcert.models.layers import (
    AOCConv2d,
    AOCConvTranspose2d,
    BatchCentering2d,
    fold_network,
)
from mmseg_lipcert.models.layers.orthogonal_layer import _toward_orthogonal

SIZE = 8
CONVS = {
    "3x3": lambda: AOCConv2d(6, 6, 3, padding=1),
    "widening": lambda: AOCConv2d(4, 6, 3, padding=1),
    "narrowing": lambda: AOCConv2d(6, 4, 3, padding=1),
    "circular": lambda: AOCConv2d(6, 6, 3, padding=1, padding_mode="circular"),
    "dilated": lambda: AOCConv2d(6, 6, 3, padding=2, dilation=2),
    "pointwise": lambda: AOCConv2d(6, 4, 1),
    "stem": lambda: AOCConv2d(3, 8, 4, stride=4),
    "strided": lambda: AOCConv2d(4, 8, 3, stride=2, padding=1),
    "grouped": lambda: AOCConv2d(8, 8, 3, padding=1, groups=2),
    "up": lambda: AOCConvTranspose2d(8, 4, 2, stride=2),
    "up overlapping": lambda: AOCConvTranspose2d(8, 4, 4, stride=2, padding=1),
}


def dense_operator(layer: nn.Module, channels: int) -> torch.Tensor:
    """Matrix of the linear part of a layer, in float64 from its float32 answers."""
    basis = torch.eye(channels * SIZE * SIZE).view(-1, channels, SIZE, SIZE)
    with torch.no_grad():
        return (layer(basis) - layer(torch.zeros_like(basis[:1]))).flatten(1).double()


def train_a_little(layer: nn.Module, channels: int) -> None:
    """Move the free parameters away from their orthonormal start."""
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(15):
        loss = layer(torch.randn(2, channels, SIZE, SIZE)).square()[:, 0].mean()
        optimizer.zero_grad()
        (-loss).backward()
        optimizer.step()


@pytest.mark.parametrize("name", CONVS)
@pytest.mark.parametrize("trained", [False, True])
def test_no_singular_value_exceeds_one(name, trained):
    layer = CONVS[name]()
    if trained:
        train_a_little(layer, layer.in_channels)
    layer.eval()
    values = torch.linalg.svdvals(dense_operator(layer, layer.in_channels))
    assert values.max() <= 1 + 1e-4
    assert values.max() >= 0.95  # not by shrinking everything


def test_square_layer_keeps_every_norm():
    layer = CONVS["circular"]().eval()
    values = torch.linalg.svdvals(dense_operator(layer, 6))
    assert values.min() >= 1 - 1e-3


@pytest.mark.parametrize("name", CONVS)
def test_fold_computes_the_same(name):
    layer = CONVS[name]()
    train_a_little(layer, layer.in_channels)
    layer.eval()
    nn.init.normal_(layer.bias)
    x = torch.randn(2, layer.in_channels, SIZE, SIZE)
    plain = layer.fold()
    assert type(plain) in (nn.Conv2d, nn.ConvTranspose2d)
    expected = layer(x)
    assert (plain(x) - expected).abs().max() <= 1e-5 * expected.abs().max()


SINGLE = ["pointwise", "stem", "up"]


@pytest.mark.parametrize("name", SINGLE)
def test_training_stays_at_the_kernel_of_evaluation(name):
    layer = CONVS[name]()
    train_a_little(layer, layer.in_channels)
    values = torch.linalg.svdvals(layer.weight.detach().view(layer.weight.shape[0], -1))
    assert (values - 1).abs().max() <= 1e-3
    trained = layer.weight.detach().clone()
    torch.testing.assert_close(trained, layer.eval().weight, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", SINGLE)
def test_training_differentiates_the_polar_factor(name):
    layer = CONVS[name]().train()
    slope = torch.randn_like(layer.weight)
    (layer.weight * slope).sum().backward()
    (free,) = (p for p in layer.parameters() if p.ndim == 4)
    start = free.detach().double().flatten(1).requires_grad_()
    u, _, v = torch.linalg.svd(start, full_matrices=False)
    ((u @ v) * slope.double().flatten(1)).sum().backward()
    torch.testing.assert_close(free.grad.double().flatten(1), start.grad, atol=1e-5, rtol=0)


def test_two_forward_passes_share_a_backward_pass():
    layer = CONVS["stem"]().train()
    x = torch.randn(2, 3, SIZE, SIZE)
    (layer(x).sum() + layer(2 * x).sum()).backward()
    (free,) = (p for p in layer.parameters() if p.ndim == 4)
    both = free.grad.clone()
    free.grad = None
    layer(3 * x).sum().backward()
    torch.testing.assert_close(free.grad, both, atol=1e-4, rtol=1e-4)


def test_training_begins_at_the_kernel_of_a_loaded_checkpoint():
    layer, other = AOCConv2d(6, 4, 1), AOCConv2d(6, 4, 1)
    with torch.no_grad():  # as training without retraction leaves it
        next(p for p in other.parameters() if p.ndim == 4).mul_(5)
    expected = other.eval().weight
    layer.train().load_state_dict(other.state_dict())
    torch.testing.assert_close(layer.weight, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (2, 4, 6)])
@pytest.mark.parametrize("scale", [0.3, 1.0, 30.0])
def test_iterations_reach_the_polar_factor_from_anywhere(shape, scale):
    matrix = scale * torch.randn(shape, generator=torch.Generator().manual_seed(1)).double()
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    for _ in range(60):
        matrix = _toward_orthogonal(matrix)
    torch.testing.assert_close(matrix, u @ v)


def test_mmcv_block_is_orthogonal_and_folds(mmseg_scope):
    block = ConvModule(
        4,
        8,
        3,
        padding=1,
        conv_cfg=dict(type="AOCConv2d"),
        norm_cfg=dict(type="BatchCentering2d"),
        act_cfg=dict(type="MaxMin"),
    )
    assert isinstance(block.conv, AOCConv2d)
    block(torch.randn(4, 4, SIZE, SIZE) + 3)  # moves the running mean
    block.eval()
    values = torch.linalg.svdvals(dense_operator(block.conv, 4))
    assert values.max() <= 1 + 1e-4
    x = torch.randn(2, 4, SIZE, SIZE)
    folded = fold_network(block)
    assert not any(isinstance(m, (AOCConv2d, BatchCentering2d)) for m in folded.modules())
    assert (folded(x) - block(x)).abs().max() <= 1e-5 * block(x).abs().max()
    assert isinstance(block.conv, AOCConv2d), "the original must stay trainable"


def test_kernel_is_float32_under_autocast():
    layer = AOCConv2d(8, 8, 3, padding=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer.weight.dtype == torch.float32
        assert layer(torch.randn(1, 8, SIZE, SIZE)).dtype == torch.bfloat16


def test_state_dict_round_trip_gives_the_same_kernel():
    first, second = (AOCConv2d(6, 6, 3, padding=1) for _ in range(2))
    train_a_little(first, 6)
    second.load_state_dict(first.state_dict(), strict=True)
    torch.testing.assert_close(second.eval().weight, first.eval().weight, atol=1e-6, rtol=0)


def test_rejects_what_cannot_be_orthogonal():
    with pytest.raises(ValueError, match="padding_mode .* got 'reflect'"):
        AOCConv2d(4, 4, 3, padding_mode="reflect")
    with pytest.raises(ValueError, match=r"kernel_size must be the same .* got \(3, 5\)"):
        AOCConv2d(4, 4, (3, 5))
