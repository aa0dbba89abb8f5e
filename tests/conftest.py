"""Settings that every test runs under."""

import os
import random
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from mmengine.registry import DefaultScope

# Reproducible by default; HYPOTHESIS_PROFILE=thorough searches at length, with fresh examples.
settings.register_profile("default", max_examples=50, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=10_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# The test processes already share the cores.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed() -> int:
    """Start every test from the same state of all generators, and give it the seed."""
    value = 0
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
    return value


@pytest.fixture(autouse=True)
def scopes_end_with_the_test() -> Iterator[None]:
    """A tool that runs in this process leaves its default scope behind: forget it."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture
def mmseg_scope() -> Iterator[None]:
    """Build from configs as MMSegmentation's tools do, in the scope ``mmseg``."""
    with DefaultScope.overwrite_default_scope("mmseg"):
        yield


@pytest.fixture(scope="session")
def onnx_file(tmp_path_factory) -> Callable[..., Path]:
    """Write an ONNX file from nodes ``(operation, inputs, outputs, attributes)``.

    Inputs and outputs are shapes of float32 tensors by name, with text for any length; weights are
    tensors by name; further options are those of ``onnx.save``.
    """
    onnx = pytest.importorskip("onnx")
    helper, numbers = onnx.helper, count()
    float32 = onnx.TensorProto.FLOAT

    def write(nodes, inputs, outputs, weights=None, types=None, **options):
        def values(shapes):
            return [
                helper.make_tensor_value_info(name, (types or {}).get(name, float32), shape)
                for name, shape in shapes.items()
            ]

        graph = helper.make_graph(
            [helper.make_node(*names, **attributes) for *names, attributes in nodes],
            "network",
            values(inputs),
            values(outputs),
            [
                onnx.numpy_helper.from_array(value.numpy(), name)
                for name, value in (weights or {}).items()
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        path = tmp_path_factory.mktemp("onnx") / f"network{next(numbers)}.onnx"
        onnx.save(model, path, **options)
        return path

    return write


@pytest.fixture(scope="session")
def pointwise_file(onnx_file) -> Callable[..., Path]:
    """Write an ONNX file of a 1x1 convolution (K, 3), for images of any size or a given one."""

    def write(weight, bias=None, size=("h", "w"), batch="n"):
        weights = dict(weight=weight[..., None, None], bias=torch.zeros(len(weight)))
        if bias is not None:
            weights["bias"] = bias
        return onnx_file(
            [("Conv", ["image", "weight", "bias"], ["logits"], {})],
            dict(image=[batch, 3, *size]),
            dict(logits=[batch, len(weight), *size]),
            weights,
        )

    return write
