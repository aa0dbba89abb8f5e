from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from mmengine.logging import MMLogger
from mmseg.structures import SegDataSample
from torch import Tensor

from ...certificates.smoothing import DrawRandomness, draw_generator, draw_noise
from .base_classifier import BaseClassifier


class DrawRunner:
    """Runs draws of one image; what a draw gives depends on its stage and number only.

    A base classifier that draws random numbers itself gets one draw per forward pass: shared by a
    batch, they would couple its draws.

    Args:
        base: What is smoothed.
        image: The image (3, H, W), 0..255, float32.
        sample: Its sizes and paths.
        name: Its name, which seeds noise and random numbers.
        seed: Seed of the certification.
        sigma: Standard deviation of the noise, images in [0, 1].
        random: Whether the base classifier is known to draw random numbers. Defaults to False.
    """

    def __init__(
        self,
        base: BaseClassifier,
        image: Tensor,
        sample: SegDataSample,
        name: str,
        seed: int,
        sigma: float,
        random: bool = False,
    ) -> None:
        self.base = base
        self.image = image
        self.sample = sample
        self.name = name
        self.seed = seed
        self.sigma = sigma
        #: Whether the base classifier has drawn random numbers.
        self.random = random
        self._coming: dict[tuple[str, int], Future[Tensor]] = {}

    def clean(self) -> Tensor:
        """Labels (H, W) of the image without noise and denoiser."""
        # Twice where random numbers were drawn: the first call of all may have prepared something,
        # as a power iteration does.
        for _ in range(2):
            with self._randomness("clean", 0) as randomness:
                labels = self.base.labels(self.image[None], self.sample)[0]
            if self.random or not randomness.used:
                return labels
        self._note(randomness)
        return labels

    def prepare(self, stage: str, indices: Sequence[int]) -> None:
        """Begin to draw the noise of these draws while something else runs."""
        if self.image.is_cuda:
            return  # it costs next to nothing there
        for index in indices:
            if (stage, index) not in self._coming:
                self._coming[stage, index] = _thread().submit(self._noise, stage, index)

    def __call__(self, stage: str, indices: Sequence[int | None]) -> Tensor:
        """Labels (B, H, W) of draws of a stage, in one forward pass; None is a black image."""
        if self.random and len(indices) > 1:
            return torch.cat([self(stage, [index]) for index in indices])
        noisy = torch.zeros(len(indices), *self.image.shape, device=self.image.device)
        for pixels, index in zip(noisy, indices, strict=True):
            if index is not None:
                coming = self._coming.pop((stage, index), None)
                noise = coming.result() if coming else self._noise(stage, index)
                pixels.copy_(noise).mul_(255 * self.sigma).add_(self.image)
        numbers = [index or 0 for index in indices]
        generators = [
            draw_generator(self.seed, self.name, f"denoise-{stage}", number) for number in numbers
        ]
        with self._randomness(stage, numbers[0]) as randomness:
            labels = self.base.labels(self.base.denoise(noisy, self.sigma, generators), self.sample)
        self._note(randomness)
        return self(stage, indices) if randomness.used and len(indices) > 1 else labels

    def _noise(self, stage: str, index: int) -> Tensor:
        return draw_noise(self.seed, self.name, stage, index, self.image.shape, self.image.device)

    def _randomness(self, stage: str, index: int) -> DrawRandomness:
        return DrawRandomness(self.seed, self.name, f"model-{stage}", index, self.image.device)

    def _note(self, randomness: DrawRandomness) -> None:
        if randomness.used and not self.random:
            self.random = True
            MMLogger.get_current_instance().info(
                "The base classifier draws random numbers itself: every draw gets its own, one "
                "draw per forward pass"
            )


@functools.cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "noise")
