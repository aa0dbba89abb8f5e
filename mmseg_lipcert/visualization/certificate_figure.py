"""One picture per image: what the network saw, what it said, and what nobody can change."""

from __future__ import annotations

import os

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..certificates.smoothing.maps import ABSTAIN
from ..utils.rounding import percent
from .save_figure import save_figure

_VOID = (0, 0, 0)
# The color scale spans so many decades below the largest radius; smaller radii have its end.
_DECADES = 2
# Radii that the scale of the radius map names.
_TICKS = [digit * 10.0**power for power in range(-5, 2) for digit in (1, 3)]


def save_certificate_figure(
    path: str | os.PathLike[str],
    image: np.ndarray,
    target: np.ndarray | None,
    prediction: np.ndarray,
    radius: np.ndarray,
    classes: tuple[str, ...],
    palette: list[list[int]],
    title: str,
    ignore_index: int = 255,
) -> None:
    """Save image, labels, prediction and per-pixel radius side by side as a PNG.

    The radius of a pixel is the l2 norm (images in [0, 1]) that a perturbation of the whole image
    needs to change this one prediction; wrong predictions are black, ignored pixels gray. Without
    labels no prediction is wrong, and black is only where there is none (abstentions). The scale
    says which share of the pixels that count has at least a radius: no perturbation below it
    changes any of them.

    Args:
        path: PNG to write; its folder is made if needed.
        image: RGB, shape (H, W, 3), uint8.
        target: Labels (H, W); None if there are none.
        prediction: Predicted labels (H, W).
        radius: Radius of each pixel (H, W), in [0, 1] image units.
        classes: Class names.
        palette: RGB of each class, 0..255.
        title: Line above the panels.
        ignore_index: Label of ignored pixels. Defaults to 255.
    """
    if target is None:
        valid, shown = np.ones(prediction.shape, dtype=bool), prediction != ABSTAIN
        meaning = "black: 0 or none"
    else:
        valid = target != ignore_index
        shown = valid & (prediction == target)
        meaning = "black: wrong or 0, gray: ignored"
    shape, width = ((1, 3), 4.2) if target is None else ((2, 2), 6.4)
    panels = shape[0] * (width * image.shape[0] / image.shape[1] + 0.3)
    figure = Figure(figsize=(14, panels + 1.4), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.subplots(*shape)
    photo, *labels, painted, heated = axes.flat
    photo.imshow(image)
    photo.set_title("image")
    for axis in labels:
        axis.imshow(_paint(target, palette))
        axis.set_title("labels (black: ignored)")
    painted.imshow(_paint(prediction, palette))
    painted.set_title("prediction")
    finite = radius[valid & np.isfinite(radius)]
    high = max(float(finite.max(initial=0.0)), 1e-3)
    low = high / 10**_DECADES
    # A radius of 0 proves nothing: black, not the color of a small radius.
    proven = np.where(shown, radius, 0.0)[valid]
    radius = np.where(shown & (radius > 0), np.clip(radius, low, high), np.nan)
    background = np.where(valid[..., None], 0.0, 0.6) * np.ones(3)
    heated.imshow(background)
    heat = heated.imshow(radius, norm=LogNorm(vmin=low, vmax=high), cmap="viridis")
    heated.set_title(f"certified radius per pixel ({meaning})")
    # Beside the panel, which stays as large as the others.
    bar = figure.colorbar(heat, cax=heated.inset_axes((1.02, 0, 0.03, 1)))
    shares = radius_shares(proven, low, high)
    bar.set_ticks([], minor=True)
    bar.set_ticks(list(shares), labels=[f"{r:g}: {percent(part)}" for r, part in shares.items()])
    bar.set_label("l2 radius, image in [0, 1]:\nshare of the pixels")
    found = np.union1d(prediction, prediction if target is None else target)
    present = [index for index in range(len(classes)) if index in found]
    for axis in axes.flat:
        axis.set_axis_off()
    figure.suptitle(title)
    figure.legend(
        handles=[
            Patch(color=np.array(palette[index]) / 255, label=classes[index]) for index in present
        ],
        loc="lower center",
        ncols=min(len(present), 10) or 1,
        frameon=False,
    )
    top, bottom = (1 - inches / figure.get_figheight() for inches in (0.7, panels + 0.7))
    figure.subplots_adjust(
        left=0.01, right=0.87, top=top, bottom=bottom, wspace=0.02, hspace=0.3 / panels * 2
    )
    save_figure(figure, path)


def radius_shares(radius: np.ndarray, low: float, high: float) -> dict[float, float]:
    """Share of pixels whose radius is at least so large, for round radii of an interval.

    Args:
        radius: Of each pixel that counts; 0 where nothing is proven.
        low: Smallest radius of the scale.
        high: Largest one.
    """
    return {r: float((radius >= r).sum() / max(1, radius.size)) for r in _TICKS if low <= r <= high}


def _paint(labels: np.ndarray, palette: list[list[int]]) -> np.ndarray:
    """Color a label map; labels without a color (ignored, abstained) are black."""
    colors = np.zeros((256, 3), dtype=np.uint8)
    colors[:] = _VOID
    colors[: len(palette)] = palette
    return colors[labels.astype(np.uint8)]
