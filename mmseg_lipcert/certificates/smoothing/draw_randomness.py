from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from .noise import MERSENNE_WORDS, cuda_state, draw_seed, generator_from


class DrawRandomness:
    """Context in which every global generator belongs to one draw of noise.

    A segmentor may draw random numbers itself; it is then a randomized base classifier, and draws
    are independent and reproducible if its random numbers are. Within the context PyTorch's global
    generators (CPU, and the GPU in use), NumPy's and Python's ``random`` start from states derived
    from the draw's 128-bit seed, like the noise; behind it they are as they were before.

    Args:
        seed: Seed of the certification.
        image: Name of the image.
        stage: What the draw is for; noise and random numbers of a draw have different ones.
        index: Number of the draw in its stage.
        device: Where the segmentor runs. Defaults to ``"cpu"``.

    Examples:
        >>> import torch
        >>> with DrawRandomness(0, "frankfurt", "model-estimate", 7) as randomness:
        ...     number = torch.rand(())
        >>> randomness.used
        True
    """

    def __init__(
        self,
        seed: int,
        image: str,
        stage: str,
        index: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self._seed = draw_seed(seed, image, stage, index)
        device = torch.device(device)
        self._device = device if device.type == "cuda" else None
        #: Whether anything drew from one of the generators; known behind the context.
        self.used = False

    def __enter__(self) -> DrawRandomness:
        self._outer = self._states()
        stream = np.random.Generator(np.random.PCG64DXSM(self._seed))
        torch_words, numpy_words, python_words = stream.integers(
            2**32, size=(3, MERSENNE_WORDS), dtype=np.uint32
        )
        self._restore(
            (
                generator_from(torch_words).get_state(),
                ("MT19937", numpy_words, MERSENNE_WORDS, 0, 0.0),
                (3, (*python_words.tolist(), MERSENNE_WORDS), None),
                None if self._device is None else cuda_state(stream),
            )
        )
        self._started = _comparable(self._states())
        return self

    def __exit__(self, *_: object) -> None:
        self.used = _comparable(self._states()) != self._started
        self._restore(self._outer)

    def _states(self) -> tuple[Any, ...]:
        cuda = None if self._device is None else torch.cuda.get_rng_state(self._device)
        return torch.get_rng_state(), np.random.get_state(), random.getstate(), cuda

    def _restore(self, states: tuple[Any, ...]) -> None:
        on_cpu, of_numpy, of_python, on_cuda = states
        torch.set_rng_state(on_cpu)
        np.random.set_state(of_numpy)
        random.setstate(of_python)
        if on_cuda is not None and self._device is not None:
            torch.cuda.set_rng_state(on_cuda, self._device)


def _comparable(states: tuple[Any, ...]) -> tuple[Any, ...]:
    on_cpu, (kind, words, *rest), of_python, on_cuda = states
    return (
        on_cpu.numpy().tobytes(),
        (kind, words.tobytes(), *rest),
        of_python,
        on_cuda is not None and on_cuda.numpy().tobytes(),
    )
