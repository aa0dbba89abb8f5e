"""The step of a diffusion process from one noise level to a lower one."""

from __future__ import annotations

import math

from torch import Tensor


def transition(
    noisy: Tensor,
    clean: Tensor,
    level: float,
    following: float,
    eta: float = 0.0,
    noise: Tensor | None = None,
) -> Tensor:
    r"""Noisy images at a lower level, by the step of DDIM for ``y = x0 + s e``.

    ```math
    y_r = x_0 + \sqrt{r^2 - d^2} (y_s - x_0) / s + d z, \qquad
    d = \eta r \sqrt{1 - r^2 / s^2}
    ```

    Source: Song et al., "Denoising Diffusion Implicit Models", 2021, equations 12 and 16, divided
    by the scale of the image.

    Args:
        noisy: Images :math:`y_s`, any shape.
        clean: Estimates of :math:`x_0`, of that shape.
        level: Level s of the noisy images.
        following: Level r, at most s.
        eta: Share of fresh noise: 0 is deterministic, 1 the original diffusion process.
        noise: Standard normal noise z of that shape; not needed without fresh noise.
    """
    fresh = eta * following * math.sqrt(1 - (following / level) ** 2)
    kept = math.sqrt(following**2 - fresh**2)
    result = clean + kept / level * (noisy - clean)
    return result if noise is None else result + fresh * noise
