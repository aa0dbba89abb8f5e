"""Small images under noise, drawn by hypothesis or at random."""

import torch
from hypothesis import strategies as st
from torch import Tensor

from mmseg_lipcert.certificates.smoothing.settings import SmoothingSettings

NUM_CLASSES = 3


def settings_of(correction: str = "holm", k: int = 1, **change) -> SmoothingSettings:
    values = dict(sigma=0.25, n0=5, n=30, alpha=0.1, taus=(0.75, 0.5))
    return SmoothingSettings(**{**values, "correction": correction, "k": k, **change})


@st.composite
def images(draw, pixels: int = 12, n: int = 30, vertices: int = NUM_CLASSES) -> tuple[Tensor, ...]:
    """Selected, hits, target and clean, each (1, pixels); many pixels have all hits."""

    def one_map(values):
        return torch.tensor([draw(st.lists(values, min_size=pixels, max_size=pixels))])

    labels = st.sampled_from([*range(NUM_CLASSES), *range(NUM_CLASSES), 255])
    return (
        one_map(st.integers(0, vertices - 1)),
        one_map(st.one_of(st.just(n), st.integers(n // 2, n))),
        one_map(labels),
        one_map(st.integers(0, NUM_CLASSES - 1)),
    )
