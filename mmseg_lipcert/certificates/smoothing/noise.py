"""Noise that depends on what it is for, and on nothing else.

Every draw has a stream of its own, seeded by a 128-bit hash of (seed, image, stage, index): the
noise is the same bit for bit whatever the batch size, the number of processes, their order or an
interruption. CPU and CUDA have streams of their own.
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


def draw_noise(
    seed: int,
    image: str,
    stage: str,
    index: int,
    shape: Sequence[int],
    device: torch.device | str = "cpu",
) -> Tensor:
    """Standard normal noise of one draw, float32.

    CPU: NumPy's generator takes the whole seed, and its normal numbers have their tails. CUDA:
    Philox, with the seed as its key and the place where it starts; drawn in float64, because
    normal numbers made of 32 bits end at 6.7. Which number is whose depends on the kind of GPU.

    Args:
        seed: Seed of the certification.
        image: Name of the image.
        stage: What the draw is for.
        index: Number of the draw in its stage.
        shape: Shape of the noise, such as (3, H, W).
        device: Where it is drawn. Defaults to ``"cpu"``.
    """
    bits = np.random.PCG64DXSM(draw_seed(seed, image, stage, index))
    stream, device = np.random.Generator(bits), torch.device(device)
    if device.type != "cuda":
        noise = stream.standard_normal(tuple(shape), dtype=np.float32)
        return torch.from_numpy(noise).to(device)
    generator = torch.Generator(device)
    generator.set_state(cuda_state(stream))
    drawn = torch.randn(tuple(shape), generator=generator, device=device, dtype=torch.float64)
    return drawn.float()


def noise_stream(device: torch.device | str) -> str:
    """Name of the generator that draws the noise on a device."""
    return "philox" if torch.device(device).type == "cuda" else "pcg64dxsm"


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


def cuda_state(stream: np.random.Generator) -> Tensor:
    """A state of PyTorch's CUDA generator: a key of 64 bits, and where in its sequence it starts.

    The start is drawn, too: 60 bits, a multiple of 4 that cannot overflow.

    Args:
        stream: What the state is drawn from.
    """
    key, start = stream.integers(2**64, dtype=np.uint64), stream.integers(2**60, dtype=np.uint64)
    state = np.array([int(key), 4 * int(start)], dtype=np.uint64)
    return torch.from_numpy(state.view(np.uint8))
