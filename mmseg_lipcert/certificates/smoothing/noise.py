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

#: Words of 32 bits in the state of a Mersenne Twister.
MERSENNE_WORDS = 624

# Where they begin in the state of PyTorch's CPU generator, as one number of 64 bits each, behind
# the seed, two counters of 32 bits, and the next word's number (0: all are still to come).
_STATE_START = 24


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

    NumPy's generator takes the whole seed, and its normal numbers have their tails.

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
    """Generator for what the base classifier of one draw may want to draw itself, on the CPU.

    Args:
        seed: Seed of the certification.
        image: Name of the image.
        stage: What the draw is for.
        index: Number of the draw in its stage.
    """
    stream = np.random.PCG64DXSM(draw_seed(seed, image, stage, index))
    words = np.random.Generator(stream).integers(2**32, size=MERSENNE_WORDS, dtype=np.uint32)
    return generator_from(words)


def spawn_generators(parent: torch.Generator, count: int) -> list[torch.Generator]:
    """Generators for the parts of a draw, such as its tiles, on the CPU.

    Args:
        parent: Generator of the draw.
        count: Number of parts.
    """
    size = (count, MERSENNE_WORDS)
    words = torch.randint(2**32, size, generator=parent, device=parent.device)
    return [generator_from(row) for row in words.cpu().numpy()]


def generator_from(words: np.ndarray) -> torch.Generator:
    """PyTorch's CPU generator in the state of 624 words of 32 bits.

    Its ``manual_seed`` keeps 32 bits of a seed, so that two of many draws may coincide; the state
    itself is that of a Mersenne Twister.

    Args:
        words: Whole numbers below 2^32, shape (624,).
    """
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    state[_STATE_START : _STATE_START + 8 * MERSENNE_WORDS] = torch.from_numpy(
        words.astype(np.uint64).view(np.uint8)
    )
    generator.set_state(state)
    return generator
