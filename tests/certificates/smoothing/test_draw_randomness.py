import random

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmseg_lipcert.certificates.smoothing import DrawRandomness

SOURCES = {
    "torch": lambda: torch.rand(4).tolist(),
    "numpy": lambda: np.random.rand(4).tolist(),
    "random": lambda: [random.random() for _ in range(4)],
}


def drawn(*draw):
    with DrawRandomness(*draw):
        return {name: source() for name, source in SOURCES.items()}


def test_a_draw_has_the_same_random_numbers_whatever_came_before():
    first = drawn(0, "a", "model-select", 3)
    for source in SOURCES.values():
        source()
    assert drawn(0, "a", "model-select", 3) == first


@pytest.mark.parametrize("other", [(1, "a", "s", 3), (0, "b", "s", 3), (0, "a", "t", 3)])
def test_every_draw_has_its_own(other):
    first, second = drawn(0, "a", "s", 3), drawn(*other)
    assert all(first[name] != second[name] for name in SOURCES)
    assert len({str(numbers) for numbers in first.values()}) == 3


def test_states_are_restored():
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    np.random.randn()  # leaves a second number behind
    expected = [(torch.randn(1).item(), np.random.randn(), random.gauss(0, 1))]
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    np.random.randn()
    with pytest.raises(KeyError), DrawRandomness(0, "a", "s", 0):
        np.random.randn()
        random.gauss(0, 1)
        torch.randn(1)
        raise KeyError
    assert [(torch.randn(1).item(), np.random.randn(), random.gauss(0, 1))] == expected


@pytest.mark.parametrize("source", SOURCES)
def test_use_of_a_generator_is_noticed(source):
    with DrawRandomness(0, "a", "s", 0) as randomness:
        SOURCES[source]()
    assert randomness.used


def test_use_of_none_is_noticed():
    with DrawRandomness(0, "a", "s", 0) as randomness:
        F.conv2d(torch.zeros(1, 3, 8, 8), torch.zeros(4, 3, 3, 3))
        torch.randn(3, generator=torch.Generator())
        np.random.default_rng(0).random()
    assert not randomness.used


@pytest.mark.gpu
def test_random_numbers_of_a_gpu():
    def on_gpu(*draw):
        with DrawRandomness(*draw, "cuda") as randomness:
            numbers = torch.rand(5, device="cuda").tolist()
        assert randomness.used
        return numbers

    torch.cuda.manual_seed(1)
    expected = torch.rand(2, device="cuda").tolist()
    torch.cuda.manual_seed(1)
    first, again, other = (on_gpu(0, "a", "s", index) for index in (0, 0, 1))
    assert first == again != other
    assert torch.rand(2, device="cuda").tolist() == expected
    with DrawRandomness(0, "a", "s", 0, "cuda") as randomness:
        torch.ones(3, device="cuda").sum()
    assert not randomness.used
