"""The step from noise to a clean image, the same in training and in use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .noise_family import NoiseFamily


def patch_size(config: Mapping[str, Any]) -> int:
    """Side of the squares of pixels that a ``UNet2DModel`` takes as one, 1 for most models.

    A network of 12 input channels sees an RGB image at half its resolution, the 2x2 pixels of
    every place beside each other. White noise stays white, of the same level.
    Source: Luhman and Luhman, "Improving Diffusion Model Efficiency Through Patching", 2022.

    Args:
        config: Of the model.

    Raises:
        ValueError: If it does not map squares of RGB pixels to squares of RGB pixels.
    """
    inputs, outputs = config.get("in_channels", 3), config.get("out_channels", 3)
    size = math.isqrt(inputs // 3)
    if not size or inputs != 3 * size**2 or outputs not in (inputs, 2 * inputs):
        raise ValueError(
            f"the model maps {inputs} to {outputs} channels; a denoiser of RGB images has 3 inputs "
            "(12 or 27 for patches of 2x2 or 3x3 pixels) and as many outputs, or twice as many "
            "with a learned variance"
        )
    return size


def predict_clean(
    unet: nn.Module,
    family: NoiseFamily,
    noisy: Tensor,
    levels: Sequence[float],
    patch: int = 1,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Clean images that a network sees in noisy ones ``y = x0 + s e``.

    Args:
        unet: Called as a ``UNet2DModel``.
        family: How it is asked.
        noisy: Images y (B, 3, H, W), x0 in [-1, 1].
        levels: Level s of each of them.
        patch: Its patch size; H and W are multiples of it.
        dtype: Of the network.

    Returns:
        Estimates of x0 (B, 3, H, W), float32.
    """
    pairs = list(zip(noisy, levels, strict=True))
    inputs = torch.stack([family.network_input(image, level) for image, level in pairs])
    # A Python number would be truncated to an integer.
    timesteps = torch.tensor([family.timestep(level) for level in levels], device=noisy.device)
    inputs = F.pixel_unshuffle(inputs, patch).to(dtype)
    output = unet(inputs, timesteps, return_dict=False)[0]
    # Models with a learned variance append it to the mean.
    output = F.pixel_shuffle(output[:, : inputs.shape[1]].float(), patch)
    return torch.stack([family.clean(*pair, out) for pair, out in zip(pairs, output, strict=True)])
