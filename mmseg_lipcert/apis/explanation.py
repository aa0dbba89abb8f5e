from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from ..attacks import FabricationObjective, SegmentorLogits, VanishingObjective, minimal_norm
from ..attacks.ball import norms
from ..attacks.line_search import line_search
from ..attacks.objectives import QuotaObjective
from ..certificates.regions import changed_pixels
from ..engine.certifiers import LipschitzResult
from ..utils.rounding import significant
from ..visualization.save_figure import save_figure


@dataclass(frozen=True)
class Explanation:
    """What an image would have to be for the network to say something else, and how far that is.

    Attributes:
        name: Name of the image.
        goal: What was asked, in words.
        image: Pixels (H, W, 3), RGB in [0, 1].
        region: Boolean (H, W): the pixels that the question is about.
        counterfactual: The image for which the goal is reached, (H, W, 3) in [0, 1].
        saliency: Length of the gradient's color vector at every pixel (H, W); the whole map has
            length 1.
        labels: Predicted labels (H, W) of the image.
        changed: Those of the counterfactual.
        norm: Distance of the counterfactual, l2; infinite when none was found along the gradient.
        radius: No image that is nearer than this reaches the goal, whoever makes it.
    """

    name: str
    goal: str
    image: np.ndarray
    region: np.ndarray
    counterfactual: np.ndarray
    saliency: np.ndarray
    labels: np.ndarray
    changed: np.ndarray
    norm: float
    radius: float

    @property
    def tightness(self) -> float:
        """Distance of the counterfactual over the certified one: at least 1, and 1 is exact.

        Infinite where nothing is guaranteed, NaN where nothing needs to change, or nothing can.
        """
        if self.norm == self.radius and self.norm in (0, np.inf):
            return float("nan")
        return self.norm / self.radius if self.radius > 0 else float("inf")

    def draw(self, out_file: str | os.PathLike[str], palette: list) -> None:
        """Save a picture: image and region, saliency, difference, counterfactual and its labels.

        Args:
            out_file: PNG to write; its folder is made if needed.
            palette: RGB color of each class.
        """
        save_explanation_figure(out_file, self, palette)


def explain_result(
    result: LipschitzResult,
    logits_of: SegmentorLogits,
    images: Tensor,
    region: np.ndarray | tuple[int, int] | None,
    to: int | None,
    share: float,
    steps: int,
) -> Explanation:
    """Explain a certified image; see ``CertifiedSegInferencer.explain``.

    Args:
        result: The certificate of the image, which gives the guarantee.
        logits_of: The segmentor with the sample of the image.
        images: The image (1, 3, H, W) in [0, 1], in the channel order of the pipeline.
        region: As in ``explain``.
        to: Index of a class or None.
        share: As in ``explain``.
        steps: As in ``explain``.
    """
    where = _region(region, result.labels.shape)
    radius = result.change_radius(where, share, to)
    objective = change_objective(where, result.labels, to, share, images.device)
    slope = slope_of(logits_of, images, objective)
    delta, norm = line_search(logits_of, images, objective, -slope, max(radius, 1e-3))
    if steps > 0:
        nearer, length = minimal_norm(
            logits_of, images, objective, steps, first_norm=max(radius, 1e-3), clip=True
        )
        if length.item() < norm.item():
            delta, norm = nearer, length
    return Explanation(
        name=result.name,
        goal=_goal(result, where, to, share),
        image=_pixels(images),
        region=where,
        counterfactual=_pixels(images + delta),
        saliency=slope[0].norm(dim=0).cpu().numpy() / max(norms(slope).item(), 1e-30),
        labels=result.labels,
        changed=logits_of.labels(images + delta)[0].cpu().numpy().astype(np.uint8),
        norm=norm.item(),
        radius=radius,
    )


def _region(region: np.ndarray | tuple[int, int] | None, shape: tuple[int, ...]) -> np.ndarray:
    """Boolean map of the pixels that a question is about."""
    if region is None:
        return np.ones(shape, dtype=bool)
    if isinstance(region, tuple):
        row, column = region
        if not (0 <= row < shape[0] and 0 <= column < shape[1]):
            raise ValueError(f"region: the image of {shape} has no pixel {region}")
        where = np.zeros(shape, dtype=bool)
        where[row, column] = True
        return where
    where = np.asarray(region)
    if where.dtype != bool or where.shape != tuple(shape) or not where.any():
        raise ValueError(
            f"region must be a pixel (row, column), or a boolean map of shape {tuple(shape)} with "
            f"a pixel in it, got {where.dtype} {where.shape}"
        )
    return where


def slope_of(logits_of: SegmentorLogits, images: Tensor, objective: QuotaObjective) -> Tensor:
    """Gradient (1, 3, H, W) of the margins that are cheapest to close; away from the goal."""
    start = images.clone().requires_grad_(True)
    with torch.enable_grad():
        loss = objective.loss(logits_of(start), 0.0)
    (slope,) = torch.autograd.grad(loss.sum(), start)
    return slope


def change_objective(
    where: np.ndarray, labels: np.ndarray, to: int | None, share: float, device: torch.device
) -> QuotaObjective:
    """Another prediction for a share of some pixels.

    Args:
        where: Boolean (H, W): the pixels.
        labels: Predicted labels (H, W).
        to: Class that they are to become; None: any other.
        share: Share of them, in (0, 1].
        device: Of the images.
    """
    pixels = torch.from_numpy(where)[None].to(device)
    if to is None:
        return VanishingObjective(pixels, torch.from_numpy(labels)[None].long().to(device), share)
    return FabricationObjective(pixels, to, changed_pixels(share, int(where.sum())))


def _goal(result: LipschitzResult, where: np.ndarray, to: int | None, share: float) -> str:
    """The question in words."""
    count = int(where.sum())
    what = "the pixel" if count == 1 else f"{share:.4g} of {count} pixels"
    if to is None:
        return f"another label for {what}"
    return f"{result.metric.dataset_meta['classes'][to]} for {what}"


def _pixels(images: Tensor) -> np.ndarray:
    """RGB (H, W, 3) of the only image of a batch, BGR."""
    return images[0].flip(0).permute(1, 2, 0).detach().cpu().numpy()


def save_explanation_figure(
    path: str | os.PathLike[str], explanation: Explanation, palette: list[list[int]]
) -> None:
    """Save image with region, saliency, difference and counterfactual, above the labels of both.

    Args:
        path: PNG to write; its folder is made if needed.
        explanation: What is drawn.
        palette: RGB of each class, 0..255.
    """
    image, found = explanation.image, explanation.counterfactual
    colors = np.array([*palette, *np.zeros((256 - len(palette), 3))], dtype=np.uint8)
    difference = found - image
    largest = max(np.abs(difference).max(), 1e-6)
    height = 2 * 4.4 * image.shape[0] / image.shape[1]
    figure = Figure(figsize=(14, height + 1.6), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    panels = {
        "image, and what the question is about": image,
        "saliency: where the gradient is": explanation.saliency,
        "labels": colors[explanation.labels],
        "counterfactual": found,
        f"its difference, times {significant(0.5 / largest, 2)}": 0.5 + 0.5 * difference / largest,
        "labels of the counterfactual": colors[explanation.changed],
    }
    for axis, (title, picture) in zip(figure.subplots(2, 3).flat, panels.items(), strict=True):
        high = max(np.quantile(explanation.saliency, 0.999), 1e-12)
        style = dict(cmap="inferno", vmin=0, vmax=high) if picture.ndim == 2 else {}
        axis.imshow(picture, **style)
        if explanation.region.any() and not explanation.region.all():
            axis.contour(explanation.region, levels=[0.5], colors="white", linewidths=0.8)
        axis.set_title(title)
        axis.set_axis_off()
    figure.suptitle(
        f"{explanation.name}: {explanation.goal}\nfound at norm {explanation.norm:.4g}; "
        f"no image nearer than {significant(explanation.radius)} does it"
    )
    save_figure(figure, path)
