"""Importing this module registers every component of the package in ``mmseg.registry``.

Raises:
    ImportError: If the toolbox is missing or installed twice; the message says what to install.
"""

from .utils.toolbox import check_toolbox, import_quietly, register_packages

# Before anything that imports the toolbox, so that a missing one is explained.
check_toolbox()
register_packages()
import_quietly()

from . import datasets, engine, evaluation, models  # noqa: E402
from .utils import checkpoint  # noqa: E402, F401 - MMEngine's loader of local files

__all__ = ["datasets", "engine", "evaluation", "models"]
