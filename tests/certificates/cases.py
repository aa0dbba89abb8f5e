"""Hypothesis strategies: tiny images, small enough for every label map to be tried."""

import math
from typing import NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from .reference import NOTHING, LabelMaps

IGNORE = 255
# Pixels that keep the number of label maps at 4096 or fewer.
MOST_PIXELS = {1: 12, 2: 12, 3: 7, 4: 6}


class Case(NamedTuple):
    """A tiny image: logits (K, H, W), target (H, W), Lipschitz bound, and all its label maps."""

    logits: Tensor
    target: Tensor
    lipschitz: float
    maps: LabelMaps

    @property
    def num_classes(self) -> int:
        return max(2, self.logits.shape[0])


def one_hot(target: Tensor, num_classes: int) -> np.ndarray:
    """Label counts (classes, N) of a target with ignored pixels."""
    flat = target.flatten().numpy()
    return (flat[None] == np.arange(num_classes)[:, None]).astype(np.int64)


@st.composite
def logit_maps(draw, num_logits: int, pixels: int) -> Tensor:
    """Logits on a coarse grid, so that ties are common, or generic ones."""
    if draw(st.booleans()):
        values = draw(
            st.lists(st.integers(-4, 4), min_size=num_logits * pixels, max_size=num_logits * pixels)
        )
        data = torch.tensor(values, dtype=torch.float64) / 2
    else:
        generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
        data = torch.randn(num_logits * pixels, generator=generator, dtype=torch.float64)
    return data.reshape(num_logits, 1, pixels)


@st.composite
def targets(draw, classes: int, pixels: int) -> Tensor:
    """Labels, some ignored; often few classes, so that some are absent."""
    used = draw(st.integers(1, classes))
    label = st.one_of(st.integers(0, used - 1), st.just(IGNORE))
    if draw(st.booleans()):
        label = st.integers(0, used - 1)
    values = draw(st.lists(label, min_size=pixels, max_size=pixels))
    return torch.tensor(values).reshape(1, pixels)


@st.composite
def cases(draw, max_pixels: int = 12, num_logits: int | None = None) -> Case:
    """A tiny image with 1 to 4 logits per pixel."""
    size = draw(st.integers(1, 4)) if num_logits is None else num_logits
    pixels = draw(st.integers(1, min(max_pixels, MOST_PIXELS[size])))
    logits = draw(logit_maps(size, pixels))
    classes = max(2, size)
    target = draw(targets(classes, pixels))
    lipschitz = draw(st.sampled_from([0.3, 1.0, 4.46]))
    maps = LabelMaps(logits.flatten(1).numpy(), one_hot(target, classes))
    return Case(logits, target, lipschitz, maps)


@st.composite
def attack_sizes(draw, case: Case) -> float:
    """0, an exact tie with the cost of some label map, just off one, or anything."""
    kind = draw(st.sampled_from(["zero", "tie", "below", "above", "any"]))
    if kind == "zero":
        return 0.0
    if kind == "any":
        return draw(st.floats(1e-3, 10.0)) / case.lipschitz
    costs = case.maps.cost
    cost = costs[draw(st.integers(0, len(costs) - 1))]
    tie = math.sqrt(0.0 if cost == NOTHING else cost) / case.lipschitz
    return tie * {"tie": 1.0, "below": 1 - 1e-6, "above": 1 + 1e-6}[kind]


@st.composite
def thresholds(draw, values: np.ndarray) -> float:
    """A value that the metric takes, just off one, or anything."""
    defined = values[~np.isnan(values)]
    if len(defined) == 0 or draw(st.booleans()):
        return draw(st.floats(-0.1, 1.1))
    value = defined[draw(st.integers(0, len(defined) - 1))]
    return float(value) + draw(st.sampled_from([0.0, 1e-6, -1e-6]))


@st.composite
def datasets(draw, max_images=3, max_pixels=5):
    """One to three tiny images with the same classes."""
    size = draw(st.integers(1, 4))
    images = draw(st.integers(1, max_images))
    return [draw(cases(max_pixels=max_pixels, num_logits=size)) for _ in range(images)]
