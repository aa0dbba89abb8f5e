"""Projected gradient descent in an l2 ball around an image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def l2_pgd(
    logits_of: Callable[[Tensor], Tensor],
    image: Tensor,
    target: Tensor,
    eps: float,
    steps: int = 40,
    temperature: float = 100.0,
    ignore_index: int = 255,
) -> Tensor:
    r"""Perturb an image so that as many pixels as possible are predicted wrongly.

    Two descents, the better end is returned:

    - on a smooth count of the correct pixels, :math:`\sum_w \sigma(T m_w)` with the margins
      :math:`m_w = z_{y_w} - \max_{j \ne y_w} z_j`: pixels that are lost for good, and those far out
      of reach, hardly pull;
    - on :math:`\sum_{w \in A} \max(m_w, 0)` over the set A that the certificate's knapsack flips
      when the logits can move by ``eps``: the attack that a 1-Lipschitz network must fear.

    Steps are normalized gradients whose length falls from ``eps / 2``; every step ends in the ball.
    Sources: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", 2018;
    the weighting of pixels follows Gu et al., "SegPGD", 2022.

    Args:
        logits_of: Differentiable map from an image in [0, 1] (3, H, W) to logits (K, H, W).
        image: Image in [0, 1], shape (3, H, W); the perturbed image may leave [0, 1], as the
            certificate allows.
        target: Labels (H, W).
        eps: Largest l2 norm of the perturbation.
        steps: Gradient steps of each descent. Defaults to 40.
        temperature: Sharpness T of the count. Defaults to 100.
        ignore_index: Label of ignored pixels. Defaults to 255.

    Returns:
        The perturbation (3, H, W), of norm at most ``eps``.

    Raises:
        ValueError: If eps is negative or not finite.
    """
    if not 0 <= eps < float("inf"):
        raise ValueError(f"eps must be a finite number of at least 0, got {eps}")
    valid = target != ignore_index
    labels = target.masked_fill(~valid, 0).long().unsqueeze(0)

    def margins(delta: Tensor) -> Tensor:
        logits = logits_of(image + delta)
        own = logits.gather(0, labels)[0]
        return (own - logits.scatter(0, labels, -torch.inf).amax(0))[valid]

    with torch.no_grad():
        clean = margins(torch.zeros_like(image))
    costs, order = (clean.clamp_min(0).double() / 2**0.5).sort(stable=True)
    affordable = order[: int((costs.square().cumsum(0) <= eps**2).sum())]

    def smooth_count(margin: Tensor) -> Tensor:
        return torch.sigmoid(temperature * margin).sum()

    def hinge(margin: Tensor) -> Tensor:
        # Slightly beyond the border, so that rounding does not bring the pixel back.
        return (margin[affordable] + 1e-3 * eps).clamp_min(0).sum()

    found = [_descend(margins, loss, image, eps, steps) for loss in (smooth_count, hinge)]
    return min(found, key=lambda pair: pair[0])[1]


def _descend(
    margins: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
    image: Tensor,
    eps: float,
    steps: int,
) -> tuple[int, Tensor]:
    """Return the smallest number of correct pixels on the way, and the perturbation there."""
    fewest, best = None, torch.zeros_like(image)
    delta = torch.zeros_like(image)
    for step in range(steps + 1):
        delta.requires_grad_(True)
        margin = margins(delta)
        correct = int((margin > 0).sum())
        if fewest is None or correct < fewest:
            fewest, best = correct, delta.detach().clone()
        if step == steps or not len(margin):
            break
        (slope,) = torch.autograd.grad(loss(margin), delta)
        length = eps / 2 * (1 - step / steps)
        delta = delta.detach() - length * slope / slope.norm().clamp_min(1e-30)
        delta = delta * (eps / delta.norm().clamp_min(1e-30)).clamp_max(1)
    return fewest, best
