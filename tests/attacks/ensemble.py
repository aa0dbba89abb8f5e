"""The best of several attacks."""

from collections.abc import Sequence

from mmseg_lipcert.attacks import Found


def strongest(found: Sequence[Found]) -> Found:
    """The best perturbation of each image among those of several attacks."""
    best = Found(found[0].delta, found[0].score, found[0].loss)
    for other in found[1:]:
        # Losses of different objectives do not compare: only the score counts.
        best.keep(other.delta, other.score, best.loss)
    return best
