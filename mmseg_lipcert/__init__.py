"""Robustness certificates for semantic segmentation, as a plugin for MMSegmentation 1.x.

Importing the package registers its components in ``mmseg.registry``; configs do it with
``custom_imports = dict(imports=["mmseg_lipcert"])``.
"""

from mmseg_lipcert.utils.toolbox import check_toolbox, import_quietly, register_packages
from mmseg_lipcert.version import __version__

# Before anything that imports the toolbox, so that a missing one is explained.
check_toolbox()
register_packages()
import_quietly()

from mmseg_lipcert import datasets, engine, evaluation, models  # noqa: E402

__all__ = ["__version__", "datasets", "engine", "evaluation", "models"]
