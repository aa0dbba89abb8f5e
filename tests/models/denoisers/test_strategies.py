"""What the network sees under each strategy, and what becomes of its answer."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_lipcert.models.denoisers.native_strategy import NativeStrategy
from mmseg_lipcert.models.denoisers.resize_strategy import resize_gain
from mmseg_lipcert.models.denoisers.resolution import build_strategy

NAMES = ["tile", "native", "resize", "area"]
SIDES = st.integers(1, 45)


class Recorder:
    """A network that remembers what it was given."""

    def __init__(self, function=lambda images: images):
        self.function = function
        self.images, self.sigmas = [], []

    def __call__(self, images, sigma, generators):
        self.images.append(images)
        self.sigmas.append(sigma)
        return self.function(images)


def pointwise(images):
    """A 1x1 convolution with a nonlinearity: every pixel on its own."""
    weight = torch.linspace(-1, 1, 9).view(3, 3, 1, 1)
    return torch.nn.functional.conv2d(images, weight).tanh()


@given(height=SIDES, width=SIDES, overlap=st.integers(0, 12), max_batch=st.integers(1, 5))
def test_tiles_equal_one_pass_for_a_pointwise_network(height, width, overlap, max_batch):
    options = dict(overlap=overlap, max_batch=max_batch)
    network = Recorder(pointwise)
    images = torch.randn(2, 3, height, width)
    found = build_strategy("tile", 16, 4, options)(network, images, 0.5)
    torch.testing.assert_close(found, pointwise(images), atol=1e-5, rtol=1e-5)
    assert all(tiles.shape[1:] == (3, 16, 16) for tiles in network.images)
    assert max(map(len, network.images)) <= max_batch
    assert set(network.sigmas) == {0.5}


@given(height=SIDES, width=SIDES)
def test_blending_weights_sum_to_one(height, width):
    strategy = build_strategy("tile", (8, 12), 4, dict(overlap=3))
    found = strategy(Recorder(torch.ones_like), torch.randn(1, 3, height, width), 0.5)
    torch.testing.assert_close(found, torch.ones(1, 3, height, width))


def test_blending_has_no_seams():
    # Tiles that disagree: from one pixel to the next, the blend moves by a part of the difference.
    counter = iter(range(100))

    def disagree(images):
        return torch.stack([torch.full_like(image, next(counter) % 2) for image in images])

    strategy = build_strategy("tile", 32, 4, dict(overlap=16))
    row = strategy(Recorder(disagree), torch.zeros(1, 3, 32, 80), 0.5)[0, 0, 16]
    assert row.min() == 0 and row.max() == 1
    assert row.diff().abs().max() < 0.15


@given(height=SIDES, width=SIDES, name=st.sampled_from(NAMES))
def test_sizes_are_kept(height, width, name):
    images = torch.randn(2, 3, height, width)
    found = build_strategy(name, 16, 4, {})(Recorder(), images, 0.5)
    assert found.shape == images.shape
    assert found.isfinite().all()


@given(height=SIDES, width=SIDES, divisor=st.sampled_from([1, 4, 32]))
def test_native_pads_and_crops(height, width, divisor):
    network = Recorder()
    images = torch.randn(1, 3, height, width)
    torch.testing.assert_close(NativeStrategy(divisor)(network, images, 0.5), images)
    seen = network.images[0].shape[2:]
    assert all(side % divisor == 0 for side in seen)
    assert seen[0] < height + divisor and seen[1] < width + divisor


@pytest.mark.parametrize("factor", [2, 3])
def test_area_tells_the_network_what_noise_it_sees(factor):
    network = Recorder()
    noise = 0.5 * torch.randn(4, 3, 32 * factor, 48 * factor)
    build_strategy("area", 16, 4, dict(factor=factor, overlap=4))(network, noise, 0.5)
    seen = torch.cat(network.images)
    assert set(network.sigmas) == {0.5 / factor}
    assert seen.std().item() == pytest.approx(0.5 / factor, rel=0.02)
    # White: neighbors are not correlated.
    assert (seen[..., 1:] * seen[..., :-1]).mean().abs() < 0.02 * seen.var()


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize("shape", [(96, 192), (40, 40), (20, 90)])
def test_resize_tells_the_network_what_noise_it_sees(keep_aspect, shape):
    network = Recorder()
    noise = 0.5 * torch.randn(64, 3, *shape)
    build_strategy("resize", 32, 4, dict(keep_aspect=keep_aspect))(network, noise, 0.5)
    seen = network.images[0]
    assert seen.square().mean().sqrt().item() == pytest.approx(network.sigmas[0], rel=0.03)


def test_resize_gain_of_published_sizes():
    assert resize_gain((1024, 2048), (256, 256)) == pytest.approx(0.117, abs=1e-3)
    assert resize_gain((64, 64), (64, 64)) == 1


def test_uncorrected_resize_tells_the_nominal_noise():
    network = Recorder()
    strategy = build_strategy("resize", 32, 4, dict(corrected=False))
    strategy(network, torch.randn(1, 3, 96, 192), 0.5)
    assert network.sigmas == [0.5]
    assert network.images[0].shape == (1, 3, 32, 32)


def test_resize_can_keep_the_aspect():
    network = Recorder()
    strategy = build_strategy("resize", 32, 4, dict(keep_aspect=True))
    strategy(network, torch.randn(1, 3, 96, 192), 0.5)
    assert network.images[0].shape == (1, 3, 32, 64)


@pytest.mark.parametrize("name", ["resize", "area"])
def test_smaller_images_come_back_in_place(name):
    # A slope survives the way to the small size and back, away from the border.
    row = torch.linspace(0, 1, 64)
    images = row.expand(1, 3, 64, 64) + row[:, None]
    found = build_strategy(name, 32, 4, {})(Recorder(), images, 0.5)
    torch.testing.assert_close(found[..., 4:-4, 4:-4], images[..., 4:-4, 4:-4], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "size", "options", "message"),
    [
        ("tile", None, {}, "names no sample_size"),
        ("tile", 18, {}, "multiples of 4, got \\(18, 18\\)"),
        ("resize", 16, dict(size=(16, 10)), "multiples of 4, got \\(16, 10\\)"),
        ("tile", 16, dict(overlap=-1), "overlap must be at least 0"),
        ("tile", 16, dict(max_batch=0), "max_batch at least 1"),
        ("area", 16, dict(factor=1), "factor must be at least 2, got 1"),
    ],
)
def test_wrong_options_are_refused(name, size, options, message):
    with pytest.raises(ValueError, match=message):
        build_strategy(name, size, 4, options)


def test_options_of_other_strategies_are_refused():
    with pytest.raises(ValueError, match="'native' takes no options, not overlap"):
        build_strategy("native", 16, 4, dict(overlap=4))


def test_the_training_size_can_be_overridden():
    network = Recorder()
    build_strategy("tile", None, 4, dict(size=24))(network, torch.randn(1, 3, 40, 24), 0.5)
    assert network.images[0].shape[2:] == (24, 24)
