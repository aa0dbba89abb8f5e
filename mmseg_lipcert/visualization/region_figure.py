"""One picture per image: which objects are hard to erase, and which are gone already."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from ..certificates import Region
from ..utils.rounding import significant
from .save_figure import save_figure

_IGNORED = (0.6, 0.6, 0.6)
_SMALL = (0.92, 0.92, 0.92)
_STRIPES = ((0.0, 0.0, 0.0), (0.8, 0.0, 0.0))
#: Regions with at least this share of the image get their name and radius written on them.
_NAMED_SHARE = 0.002
#: The color scale spans at most so many decades below the largest radius.
_DECADES = 3


def save_region_figure(
    path: str | os.PathLike[str],
    image: np.ndarray,
    regions: Sequence[Region],
    numbers: np.ndarray,
    ignored: np.ndarray,
    classes: Sequence[str],
    vanish_share: float,
    title: str,
) -> None:
    """Save an image and its regions, each painted by the radius below which it cannot vanish.

    Regions of radius 0, which have vanished without an attack, are striped black and red; ignored
    pixels are gray, regions too small to be certified almost white.

    Args:
        path: PNG to write; its folder is made if needed.
        image: RGB, shape (H, W, 3), uint8.
        regions: The certified regions.
        numbers: Map (H, W) of their numbers, 0 outside.
        ignored: Boolean map (H, W) of the pixels that never count.
        classes: Class names.
        vanish_share: Share of a region's pixels whose loss counts as vanishing.
        title: First line above the panels.
    """
    radii = np.array([np.nan, *(region.radius for region in regions)])
    finite = radii[np.isfinite(radii) & (radii > 0)]
    high = finite.max(initial=1e-3)
    low = max(finite.min(initial=high / 10), high / 10**_DECADES)
    norm = LogNorm(vmin=min(low, high / 2), vmax=high, clip=True)
    figure = Figure(figsize=(15, 1.5 + 6.9 * image.shape[0] / image.shape[1]), dpi=100)
    FigureCanvasAgg(figure)
    photo, panel = figure.subplots(1, 2)
    photo.imshow(image)
    photo.set_title("image")
    panel.imshow(_background(radii[numbers], numbers > 0, ignored))
    # Infinite radii (nothing can erase the object) take the color of the largest.
    shown = np.where(radii > 0, radii, np.nan)[numbers]
    heat = panel.imshow(shown, norm=norm, cmap="viridis")
    _outline(panel, numbers)
    _write_names(panel, regions, numbers, classes)
    missed = sum(region.radius == 0 for region in regions)
    panel.set_title(f"{len(regions)} objects of the labels, {missed} of them missed without attack")
    photo.set_axis_off()
    panel.set_axis_off()
    bar = figure.colorbar(heat, cax=panel.inset_axes((1.02, 0, 0.02, 1)), format="%g")
    bar.set_label(f"no smaller l2 norm (image in [0, 1])\nerases {vanish_share:.0%} of an object")
    figure.suptitle(title)
    figure.legend(
        handles=[
            Patch(
                facecolor=_STRIPES[0],
                edgecolor=_STRIPES[1],
                hatch="////",
                label=f"missed: {vanish_share:.0%} of the object is wrong without attack",
            ),
            Patch(color=_IGNORED, label="ignored"),
            Patch(color=_SMALL, label="too small to be certified"),
        ],
        loc="lower center",
        ncols=3,
        frameon=False,
    )
    figure.subplots_adjust(left=0.01, right=0.92, top=0.9, bottom=0.08, wspace=0.03)
    save_figure(figure, path)


def _background(radius: np.ndarray, certified: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Everything that has no color of the scale, RGB in [0, 1]."""
    height, width = radius.shape
    rows, columns = np.indices((height, width))
    stripe = (rows + columns) // max(2, width // 128) % 2
    picture = np.array(_STRIPES)[stripe]
    picture[~certified] = _SMALL
    picture[ignored] = _IGNORED
    return picture


def _outline(axis, numbers: np.ndarray) -> None:
    """Thin white lines between regions."""
    edge = np.zeros(numbers.shape, dtype=bool)
    edge[1:] |= numbers[1:] != numbers[:-1]
    edge[:, 1:] |= numbers[:, 1:] != numbers[:, :-1]
    line = np.zeros((*numbers.shape, 4))
    line[edge] = (1, 1, 1, 0.7)
    axis.imshow(line)


def _write_names(
    axis, regions: Sequence[Region], numbers: np.ndarray, classes: Sequence[str]
) -> None:
    """Write class and radius on the larger regions, as far as there is room."""
    height, width = numbers.shape
    taken: list[tuple[int, int]] = []
    for region in sorted(regions, key=lambda region: -region.pixels):
        if region.pixels < _NAMED_SHARE * numbers.size:
            break
        row, column = _center(region, numbers)
        if any(abs(row - r) < height / 14 and abs(column - c) < width / 10 for r, c in taken):
            continue
        taken.append((row, column))
        name = classes[region.class_index]
        axis.text(
            column,
            row,
            f"{name}\n{significant(region.radius, 2)}" if region.radius > 0 else name,
            color="white",
            fontsize=8,
            ha="center",
            va="center",
            linespacing=0.9,
            path_effects=[withStroke(linewidth=1.5, foreground="black")],
        )


def _center(region: Region, numbers: np.ndarray) -> tuple[int, int]:
    """The pixel of a region that is nearest to its center."""
    top, left, bottom, right = region.box
    rows, columns = np.nonzero(numbers[top:bottom, left:right] == region.number)
    place = np.hypot(rows - rows.mean(), columns - columns.mean()).argmin()
    return int(top + rows[place]), int(left + columns[place])
