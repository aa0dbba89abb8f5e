from __future__ import annotations

import os

from matplotlib.figure import Figure

from ..utils.whole_file import whole_file


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Save a figure as a PNG, as a whole: a crash leaves the old picture or the new one.

    Args:
        figure: What is drawn.
        path: PNG to write; its folder is made if needed.
    """
    with whole_file(path) as partial:
        figure.savefig(partial, format="png")
