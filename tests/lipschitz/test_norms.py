import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from orthogonium.layers import AdaptiveOrthoConv2d, AdaptiveOrthoConvTranspose2d
from orthogonium.layers.conv.AOL import AOLConv2D
from torch import nn

from mmseg_lipcert.lipschitz import (
    conv_norm_bound,
    interpolation_norm,
    matrix_norm_bound,
    preprocessing_norm,
    sliding_window_norm,
)
from mmseg_lipcert.lipschitz.conv_norms import conv_group_bounds


def random_conv(rng, padding_mode="zeros"):
    """Draw a convolution of any geometry, and an input size that it accepts."""
    groups = int(rng.choice([1, 1, 2, 3]))
    kernel = tuple(int(size) for size in rng.integers(1, 5, 2))
    dilation = tuple(int(size) for size in rng.integers(1, 4, 2))
    conv = nn.Conv2d(
        groups * int(rng.integers(1, 4)),
        groups * int(rng.integers(1, 4)),
        kernel,
        stride=tuple(int(size) for size in rng.integers(1, 4, 2)),
        padding=tuple(int(size) for size in rng.integers(0, 4, 2)),
        dilation=dilation,
        groups=groups,
        bias=False,
        padding_mode=padding_mode,
    ).double()
    # Some kernels are a spike, whose norm is attained on small images.
    if rng.random() < 0.3:
        conv.weight.data *= (torch.rand_like(conv.weight) < 0.3).double()
    reach = [hole * (taps - 1) for hole, taps in zip(dilation, kernel, strict=True)]
    size = tuple(int(rng.integers(max(4, low + 1), 11)) for low in reach)
    return conv, size


@pytest.mark.parametrize("seed", range(4))
def test_convolution_bound_is_never_below_the_dense_operator(seed, dense_norm):
    rng = np.random.default_rng(seed)
    for _ in range(40):
        conv, size = random_conv(rng)
        truth = dense_norm(conv, (conv.in_channels, *size))
        assert conv_norm_bound(conv) >= truth, (conv, size)


def test_asymmetric_zero_padding_is_a_compression(dense_norm):
    rng = np.random.default_rng(5)
    for _ in range(40):
        conv, size = random_conv(rng)
        pads = [int(pad) for pad in rng.integers(0, 4, 4)]
        model = nn.Sequential(nn.ZeroPad2d(pads), conv)
        truth = dense_norm(model, (conv.in_channels, *size))
        assert conv_norm_bound(conv) >= truth, (conv, size, pads)


def test_same_padding_of_even_kernels(dense_norm):
    conv = nn.Conv2d(3, 2, 4, padding="same", bias=False).double()
    assert conv_norm_bound(conv) >= dense_norm(conv, (3, 7, 6))


@pytest.mark.parametrize("seed", range(2))
def test_transposed_convolution_bound_is_never_below_the_dense_operator(seed, dense_norm):
    rng = np.random.default_rng(100 + seed)
    for _ in range(40):
        like, _ = random_conv(rng)
        extra = tuple(
            int(rng.integers(0, max(s, d))) for s, d in zip(like.stride, like.dilation, strict=True)
        )
        conv = nn.ConvTranspose2d(
            like.in_channels,
            like.out_channels,
            like.kernel_size,
            stride=like.stride,
            output_padding=extra,
            dilation=like.dilation,
            groups=like.groups,
            bias=False,
        ).double()
        truth = dense_norm(conv, (conv.in_channels, *rng.integers(2, 6, 2).tolist()))
        assert conv_norm_bound(conv) >= truth, conv


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
def test_other_padding_modes_are_never_below_the_dense_operator(mode, dense_norm):
    rng = np.random.default_rng(7)
    for _ in range(40):
        conv, size = random_conv(rng, mode)
        truth = dense_norm(conv, (conv.in_channels, *size))
        assert conv_norm_bound(conv) >= truth, (conv, size)
        assert conv_norm_bound(conv) >= conv_norm_bound(conv, size) - 1e-9
        assert conv_norm_bound(conv, size) >= truth, (conv, size)


def test_circular_stride_that_does_not_divide_the_image_counts_the_overlap(dense_norm):
    conv = nn.Conv2d(1, 4, 2, stride=2, padding=1, padding_mode="circular", bias=False).double()
    conv.weight.data = torch.eye(4, dtype=torch.float64).view(4, 1, 2, 2)
    assert conv_norm_bound(conv, (4, 4)) >= dense_norm(conv, (1, 4, 4))
    assert dense_norm(conv, (1, 3, 3)) > 1.4
    assert conv_norm_bound(conv, (3, 3)) >= dense_norm(conv, (1, 3, 3))
    assert conv_norm_bound(conv) >= dense_norm(conv, (1, 3, 3))


def symbol_norm(weight, size=96):
    """Largest singular value of the symbol on a fine grid: a lower bound of the true norm."""
    symbol = torch.fft.fft2(weight.double(), s=(size, size))
    return float(torch.linalg.matrix_norm(symbol.permute(2, 3, 0, 1), 2).max())


@pytest.mark.parametrize("channels", [(1, 1), (3, 16), (16, 16), (24, 20)])
def test_random_kernels_are_bounded_within_five_percent(channels):
    weight = torch.randn(channels[1], channels[0], 3, 3)
    truth = symbol_norm(weight, 48)
    bound = float(conv_group_bounds(weight))
    assert truth <= bound <= 1.05 * truth


def test_constant_kernel_attains_its_bound_at_frequency_zero():
    bound = float(conv_group_bounds(torch.ones(1, 1, 3, 3)))
    assert 9 <= bound <= 9 * (1 + 1e-9)


@pytest.mark.parametrize(
    "geometry",
    [
        {"kernel_size": 3},
        {"kernel_size": 1},
        {"kernel_size": 5},
        {"kernel_size": 3, "dilation": 2},
        {"kernel_size": 2, "stride": 2, "padding": 0},
        {"kernel_size": 4, "stride": 2, "padding": 1},
        {"kernel_size": 3, "groups": 4},
    ],
)
@pytest.mark.parametrize("channels", [(16, 16), (16, 32), (32, 8)])
def test_orthogonal_layers_are_bounded_within_a_thousandth_of_one(geometry, channels):
    conv = AdaptiveOrthoConv2d(*channels, padding_mode="zeros", **geometry).eval()
    assert 1 - 1e-4 <= conv_norm_bound(conv) <= 1 + 1e-3


@pytest.mark.parametrize("kernel, stride", [(2, 2), (4, 2), (3, 1)])
def test_orthogonal_transposed_layers_are_bounded_within_a_thousandth_of_one(kernel, stride):
    conv = AdaptiveOrthoConvTranspose2d(32, 8, kernel, stride=stride, padding=0).eval()
    assert 1 - 1e-4 <= conv_norm_bound(conv) <= 1 + 1e-3


def test_circular_orthogonal_layer_with_stride_is_tight_where_the_stride_divides():
    conv = AdaptiveOrthoConv2d(8, 16, 4, stride=2, padding=1).eval()
    assert conv.padding_mode == "circular"
    assert conv_norm_bound(conv, (8, 12)) <= 1 + 1e-3


def test_almost_orthogonal_layer_is_proved_one_lipschitz_from_its_kernel():
    conv = AOLConv2D(6, 6, 3, padding=1).eval()
    nn.init.normal_(conv.parametrizations.weight.original)
    assert conv_norm_bound(conv) <= 1 + 1e-6


def test_large_general_kernels_are_certified_by_factorisations():
    weight = torch.randn(80, 72, 2, 2)
    truth = symbol_norm(weight, 32)
    assert truth <= float(conv_group_bounds(weight)) <= 1.05 * truth


def test_groups_take_the_maximum_and_not_the_product():
    conv = nn.Conv2d(4, 4, 1, groups=4, bias=False)
    conv.weight.data = torch.tensor([2.0, 3.0, 0.5, 1.0]).view(4, 1, 1, 1)
    assert conv_norm_bound(conv) == pytest.approx(3.0)


def test_zero_and_nonfinite_kernels():
    conv = nn.Conv2d(2, 2, 3)
    nn.init.zeros_(conv.weight)
    assert conv_norm_bound(conv) == 0
    conv.weight.data[0, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="finite"):
        conv_norm_bound(conv)


@given(
    scale=st.floats(1e-12, 1e12),
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_norms_are_homogeneous_and_above_the_singular_value(scale, rows, columns, seed):
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).double()
    truth = float(torch.linalg.matrix_norm(matrix * scale, 2))
    assert truth <= matrix_norm_bound(matrix * scale) <= truth * (1 + 1e-6)
    conv = float(conv_group_bounds((matrix * scale).view(rows, columns, 1, 1)))
    assert truth <= conv <= truth * (1 + 1e-6)


@pytest.mark.parametrize(
    "mode, align", [("nearest", None), ("bilinear", False), ("bilinear", True), ("bicubic", False)]
)
@pytest.mark.parametrize("sizes", [((3, 4), (6, 9)), ((7, 5), (3, 5)), ((1, 4), (5, 2))])
def test_interpolation_norm_is_that_of_the_dense_operator(mode, align, sizes, dense_norm):
    before, after = sizes
    truth = dense_norm(
        lambda x: F.interpolate(x, size=after, mode=mode, align_corners=align), (1, *before)
    )
    assert interpolation_norm(before, after, mode, align) == pytest.approx(truth, rel=1e-8)


def test_bilinear_upsampling_expands_by_about_its_factor():
    assert 3.5 < interpolation_norm((16, 16), (64, 64), "bilinear", False) <= 4.01


def test_preprocessing_norm_of_imagenet_statistics():
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    assert preprocessing_norm(mean, std) == pytest.approx(255 / 57.12)
    with pytest.raises(ValueError, match="positive"):
        preprocessing_norm(mean, (1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="one mean and one std"):
        preprocessing_norm(mean, (1.0,))


def test_sliding_window_norm_bounds_the_averaged_identity(dense_norm):
    size, crop, stride = (7, 6), (4, 3), (2, 2)

    def slide(images):
        # Each window returns its own copy; the sum over windows is averaged by the counts.
        total, count = torch.zeros_like(images), torch.zeros_like(images)
        for top in (0, 2, 3):
            for left in (0, 2, 3):
                window = images[..., top : top + 4, left : left + 3]
                weight = 1.0 if (top + left) % 2 else -1.0
                total[..., top : top + 4, left : left + 3] += weight * window
                count[..., top : top + 4, left : left + 3] += 1
        return total / count

    assert sliding_window_norm(size, crop, stride) >= dense_norm(slide, (1, *size))
    # Rows are covered 1, 1, 2, 3, 2, 2, 1 times and columns 1, 1, 2, 2, 2, 1 times.
    assert sliding_window_norm(size, crop, stride) == pytest.approx(math.sqrt(6))


def test_sliding_window_of_the_whole_image_changes_nothing():
    assert sliding_window_norm((8, 8), (8, 8), (5, 5)) == pytest.approx(1.0)
    assert sliding_window_norm((8, 8), (16, 16), (5, 5)) == pytest.approx(1.0)


def test_sliding_window_must_cover_the_image():
    with pytest.raises(ValueError, match="uncovered"):
        sliding_window_norm((20, 20), (4, 4), (7, 7))
