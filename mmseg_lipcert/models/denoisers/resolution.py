"""Resolution strategies by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .area_strategy import AreaStrategy
from .native_strategy import NativeStrategy
from .resize_strategy import ResizeStrategy
from .resolution_strategy import ResolutionStrategy
from .tile_strategy import TileStrategy

# Options of each strategy.
_OPTIONS = dict(
    native=(),
    tile=("size", "overlap", "max_batch"),
    resize=("size", "keep_aspect", "corrected"),
    area=("size", "overlap", "max_batch", "factor"),
)


def build_strategy(
    name: str,
    sample_size: int | tuple[int, int] | None,
    divisor: int,
    options: Mapping[str, Any],
) -> ResolutionStrategy:
    """Build a strategy for a network.

    Args:
        name: ``'tile'``, ``'native'``, ``'resize'`` or ``'area'`` (tiles at a lower resolution).
        sample_size: Size of the images that the network was trained on, if it says so.
        divisor: What the network divides sizes by.
        options: Of the strategy; ``size`` overrides the training size.

    Raises:
        ValueError: If the name is unknown, or the strategy needs a size and has none that the
            network can take, or it has no such option.
    """
    if name not in _OPTIONS:
        raise ValueError(f"strategy must be 'tile', 'native', 'resize' or 'area', got {name!r}")
    unknown = ", ".join(set(options) - set(_OPTIONS[name]))
    if unknown:
        raise ValueError(
            f"strategy {name!r} takes {', '.join(_OPTIONS[name]) or 'no options'}, not {unknown} "
            "(strategy_options)"
        )
    options = dict(options)
    if name == "native":
        return NativeStrategy(divisor, **options)
    size = options.pop("size", sample_size)
    if size is None:
        raise ValueError(
            f"the model names no sample_size, which strategy {name!r} needs: give it as "
            "strategy_options=dict(size=...), or use strategy 'native'"
        )
    size = (size, size) if isinstance(size, int) else tuple(size)
    if min(size) < 1 or any(side % divisor for side in size):
        raise ValueError(f"the network takes sizes that are multiples of {divisor}, got {size}")
    if name == "resize":
        return ResizeStrategy(size, divisor, **options)
    if name == "tile":
        return TileStrategy(size, **options)
    factor = {"factor": options.pop("factor")} if "factor" in options else {}
    return AreaStrategy(TileStrategy(size, **options), **factor)
