"""l2 attacks on segmentors: the upper bound of the worst case that certificates stay below."""

from .l2_pgd import l2_pgd

__all__ = ["l2_pgd"]
