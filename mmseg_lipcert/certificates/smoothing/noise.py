"""Noise that depends on what it is for, and on nothing else.

Every draw has a stream of its own, seeded by a 128-bit hash of (seed, image, stage, index): the
noise is the same bit for bit whatever the batch size, the number of processes, their order or an
interruption, and it does not depend on the device.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def draw_seed(seed: int, image: str, stage: str, index: int) -> int:
    """Seed of 128 bits of one draw.

    Args:
        seed: Seed of the certification.
        image: Name of the image.
        stage: What the draw is for, such as ``"select"`` or ``"estimate"``: stages share no draw.
        index: Number of the draw in its stage.
    """
    key = json.dumps([int(seed), image, stage, int(index)]).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=16).digest(), "big")


def draw_noise(seed: int, image: str, stage: str, index: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise of one draw, float32, on the CPU.

    NumPy's generator takes the whole seed, and its normal numbers have their tails. PyTorch's CPU
    generator uses 32 bits of a seed, so that two of many draws may coincide.

    Args:
        seed: Seed of the certification.
        image: Name of the image.
        stage: What the draw is for.
        index: Number of the draw in its stage.
        shape: Shape of the noise, such as (3, H, W).
    """
    stream = np.random.Generator(np.random.PCG64DXSM(draw_seed(seed, image, stage, index)))
    return torch.from_numpy(stream.standard_normal(tuple(shape), dtype=np.float32))


def draw_generator(seed: int, image: str, stage: str, index: int) -> torch.Generator:
    """Generator for what the base classifier of one draw may want to draw itself.

    A base classifier may be any function of the noisy image and of independent randomness, so that
    PyTorch's generator is good enough for it.

    Args:
        seed: Seed of the certification.
        image: Name of the image.
        stage: What the draw is for.
        index: Number of the draw in its stage.
    """
    return torch.Generator().manual_seed(draw_seed(seed, image, stage, index) % 2**64)
