import pytest
import torch
from mmseg.registry import MODELS

FREE = ["n", 3, "h", "w"]


def build(path, **options):
    return MODELS.build(dict(type="OnnxDenoiser", path=str(path), **options))


@pytest.fixture
def subtracting(onnx_file):
    """A file that subtracts the noise level, an input of this shape, from the image."""

    def write(level, size=("h", "w")):
        return onnx_file(
            [("Sub", ["image", "level"], ["clean"], {})],
            dict(image=["n", 3, *size], level=level),
            dict(clean=["n", 3, *size]),
        )

    return write


@pytest.mark.parametrize(
    "level", [[], [1], ["n", 1, 1, 1], [1, 1, 1, 1], ["n", 1, "h", "w"]], ids=str
)
def test_the_level_has_the_shape_of_the_file(subtracting, level):
    noisy = torch.rand(2, 3, 5, 7)
    denoiser = build(subtracting(level), level_scale=2)
    torch.testing.assert_close(denoiser(noisy, 0.25), noisy - 0.5)
    assert not denoiser.training and len(denoiser.file_sha256) == 64


def test_one_number_per_image(onnx_file):
    nodes = [
        ("Unsqueeze", ["level", "axes"], ["column"], {}),
        ("Sub", ["image", "column"], ["clean"], {}),
    ]
    path = onnx_file(
        nodes, dict(image=FREE, level=["n"]), dict(clean=FREE), dict(axes=torch.tensor([1, 2, 3]))
    )
    noisy = torch.rand(2, 3, 5, 7)
    torch.testing.assert_close(build(path)(noisy, 0.25), noisy - 0.25)


def test_the_level_as_a_fourth_channel(onnx_file):
    weight = torch.cat([torch.eye(3), -torch.ones(3, 1)], 1)[..., None, None]
    path = onnx_file(
        [("Conv", ["image", "weight"], ["clean"], {})],
        dict(image=["n", 4, "h", "w"]),
        dict(clean=FREE),
        dict(weight=weight),
    )
    noisy = torch.rand(2, 3, 5, 7)
    torch.testing.assert_close(build(path)(noisy, 0.25), noisy - 0.25)


def test_a_file_of_one_level(onnx_file):
    path = onnx_file([("Neg", ["image"], ["clean"], {})], dict(image=FREE), dict(clean=FREE))
    noisy = torch.rand(2, 3, 5, 7)
    torch.testing.assert_close(build(path)(noisy, 0.25), -noisy)


@pytest.mark.parametrize("size", [(5, 7), (24, 40), (17, 16)])
def test_a_fixed_size_meets_any_image_by_tiles(subtracting, size):
    noisy = torch.rand(2, 3, *size)
    denoiser = build(subtracting([], size=(16, 16)))
    torch.testing.assert_close(denoiser(noisy, 0.25), noisy - 0.25)
    with pytest.raises(ValueError, match="takes 16x16 only"):
        build(subtracting([], size=(16, 16)), strategy="native")


def test_sizes_are_padded_to_multiples(onnx_file):
    nodes = [
        ("SpaceToDepth", ["image"], ["squares"], dict(blocksize=2)),
        ("DepthToSpace", ["squares"], ["clean"], dict(blocksize=2)),
    ]
    path = onnx_file(nodes, dict(image=FREE), dict(clean=FREE))
    noisy = torch.rand(1, 3, 5, 7)
    torch.testing.assert_close(build(path, divisor=2)(noisy, 0.25), noisy)
    with pytest.raises(ValueError, match="cannot take inputs"):
        build(path)(noisy, 0.25)


def test_what_is_wrong_is_named(onnx_file, subtracting):
    for shapes in (dict(image=["n", 1, "h", "w"]), dict(image=FREE, a=["n", 3, 1])):
        path = onnx_file([("Neg", ["image"], ["clean"], {})], shapes, dict(clean=shapes["image"]))
        with pytest.raises(ValueError, match="a denoiser takes images"):
            build(path)
    pooling = onnx_file(
        [("AveragePool", ["image"], ["clean"], dict(kernel_shape=[2, 2], strides=[2, 2]))],
        dict(image=FREE),
        dict(clean=["n", 3, "p", "q"]),
    )
    with pytest.raises(ValueError, match=r"gives \(1, 3, 2, 2\) for \(1, 3, 4, 4\)"):
        build(pooling)(torch.rand(1, 3, 4, 4), 0.1)
    with pytest.raises(ValueError, match="level_scale must be a positive number, got 0"):
        build(subtracting([]), level_scale=0)
    with pytest.raises(ValueError, match="divisor must be at least 1, got 0"):
        build(subtracting([]), divisor=0)
    with pytest.raises(ValueError, match="one side is fixed, one is free"):
        build(subtracting([], size=(16, "w")))
