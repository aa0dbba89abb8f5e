"""Robustness certificates for semantic segmentation, as a plugin for MMSegmentation 1.x.

The mathematics, ``mmseg_lipcert.certificates`` and ``mmseg_lipcert.lipschitz``, loads PyTorch,
NumPy and SciPy only. ``mmseg_lipcert.registration`` registers everything else in
``mmseg.registry``; configs do ``custom_imports = dict(imports=["mmseg_lipcert.registration"])``.
"""

import sys
from importlib.util import find_spec

from .version import __version__

__all__ = ["__version__"]

# Configs may name the package alone: MMEngine then imports it while it reads them.
if "mmengine" in sys.modules and find_spec("mmseg"):
    from . import registration  # noqa: F401
