from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmseg.registry import MODELS
from torch import Tensor

from .base_denoiser import BaseDenoiser
from .one_step import patch_size, predict_clean
from .resolution import build_strategy
from .transition import transition


@MODELS.register_module()
class DiffusersDenoiser(BaseDenoiser):
    """Denoises with an unconditional diffusion model from a local ``diffusers`` folder.

    Noise of std sigma on [0, 1] is the level ``2 sigma`` on the model's [-1, 1]; the timestep is
    matched to it, and the clean image is read from the network's output in closed form
    (Carlini et al., "(Certified!!) Adversarial Robustness for Free!", 2023).

    Args:
        path: Folder with ``unet`` and ``scheduler``, a folder of the UNet alone, or its
            ``.safetensors`` file with ``config.json`` beside it. Nothing is ever downloaded.
        scheduler: ``_class_name`` and settings of the scheduler, where the path has none.
        strategy: How an image of any size meets a network of one size: ``'tile'``, ``'native'``,
            ``'resize'``, or ``'area'`` (tiles at half resolution). Defaults to ``'tile'``.
        strategy_options: Of the strategy: ``size`` (all but native; the network's ``sample_size``
            by default), ``overlap`` and ``max_batch`` (tile, area), ``factor`` (area),
            ``keep_aspect`` and ``corrected`` (resize).
        steps: Steps from the noise to the image. Defaults to 1, the mean of the images that the
            noise allows; more steps cost as many times more and invent detail.
        eta: Share of fresh noise in more steps, drawn from the given generators. Defaults to 0:
            deterministic.
        clip: Whether clean images are clipped to the model's range. Defaults to None: as the
            scheduler says.
        noise_range: Width of the range that sigma is taken to refer to. Defaults to 2, the model's;
            1 reproduces the timesteps of published work, which are too small.
        dtype: Of the network: ``'float32'``, ``'bfloat16'`` or ``'float16'``. What is around it
            stays in float32.
        channels_last: Memory layout of the network. Defaults to False.
        compile: Compile the network with ``torch.compile``. Defaults to False.

    Raises:
        ImportError: Without the package ``diffusers``.
        FileNotFoundError: If the path holds no model; it says what to fetch.
        ValueError: If the model or the scheduler is of a kind that cannot denoise, or an argument
            is out of range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        scheduler: dict[str, Any] | None = None,
        strategy: str = "tile",
        strategy_options: dict[str, Any] | None = None,
        steps: int = 1,
        eta: float = 0.0,
        clip: bool | None = None,
        noise_range: float = 2.0,
        dtype: str = "float32",
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        if not 0 <= eta <= 1:
            raise ValueError(f"eta must be in [0, 1], got {eta}")
        if eta and steps == 1:
            raise ValueError(f"eta={eta} needs more than one step: a single one adds no noise")
        if not 0 < noise_range < float("inf"):
            raise ValueError(f"noise_range must be a positive number, got {noise_range}")
        if dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError(f"dtype must be 'float32', 'bfloat16' or 'float16', got {dtype!r}")
        # Imported late: the package takes seconds to import, and who smooths without a denoiser
        # need not have it.
        try:
            from .loading import load_scheduler_config, load_unet
            from .schedulers import noise_family
        except ModuleNotFoundError as error:
            raise ImportError(
                f"{type(self).__name__} needs the packages of the extra 'denoise': "
                "pip install diffusers safetensors"
            ) from error
        self.steps = steps
        self.eta = eta
        self.noise_range = noise_range
        self.dtype = getattr(torch, dtype)
        self.unet = load_unet(Path(path), self.dtype)
        self.family = noise_family(scheduler or load_scheduler_config(Path(path)), clip)
        config = self.unet.config
        self.patch = patch_size(config)
        divisor = self.patch * 2 ** (len(config.block_out_channels) - 1)
        # The network counts its size in patches.
        size = config.sample_size and (np.asarray(config.sample_size) * self.patch).tolist()
        self.strategy = build_strategy(strategy, size, divisor, strategy_options or {})
        if channels_last:
            self.unet.to(memory_format=torch.channels_last)
        if compile:
            self.unet.compile()

    def forward(
        self,
        noisy: Tensor,
        sigma: float,
        generators: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Denoise RGB images (B, 3, H, W) in [0, 1] units.

        Raises:
            ValueError: If the shape is another one, the noise is outside of the model's range, or
                there is not one generator per image where they are needed.
        """
        if noisy.ndim != 4 or noisy.shape[1] != 3:
            raise ValueError(f"expected images (B, 3, H, W), got {tuple(noisy.shape)}")
        if not self.eta:
            generators = None
        elif generators is None or len(generators) != len(noisy):
            raise ValueError(
                f"eta={self.eta} draws noise: one generator per image is needed, got "
                f"{0 if generators is None else len(generators)} for {len(noisy)} images"
            )
        images = self.strategy(self._denoise, noisy.float() * 2 - 1, sigma, generators)
        return (images + 1) / 2

    def check_sigma(self, sigma: float, size: tuple[int, int]) -> None:
        """Refuse noise outside of the model's range, behind whatever the strategy does to it."""

        def check(images: Tensor, sigma: float, generators: None) -> Tensor:
            self.family.timestep(self.noise_range * sigma)
            return images

        self.strategy(check, torch.zeros(1, 3, *size), sigma, None)

    def _denoise(
        self, noisy: Tensor, sigma: float, generators: Sequence[torch.Generator] | None
    ) -> Tensor:
        """Denoise images in [-1, 1] whose size suits the network."""
        level = self.noise_range * sigma
        clean = self._predict(noisy, level)
        last = max(level / 10, self.family.smallest_level)
        for step in range(1, self.steps):
            # Levels fall geometrically.
            following = (
                self.noise_range
                * sigma
                * (last / (self.noise_range * sigma)) ** (step / (self.steps - 1))
            )
            noise = generators and _draw(noisy, generators)
            following = max(following, last)  # which rounding may fall short of
            noisy = transition(noisy, clean, level, following, self.eta, noise)
            level = following
            clean = self._predict(noisy, level)
        return clean

    def _predict(self, noisy: Tensor, level: float) -> Tensor:
        levels = [level] * len(noisy)
        return predict_clean(self.unet, self.family, noisy, levels, self.patch, self.dtype)


def _draw(like: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Standard normal noise of each image's own generator."""
    noise = [torch.randn(like.shape[1:], generator=g, device=g.device) for g in generators]
    return torch.stack(noise).to(like.device)
