"""MMEngine metrics over :mod:`mmseg_lipcert.certificates`."""

from . import metrics

__all__ = ["metrics"]
