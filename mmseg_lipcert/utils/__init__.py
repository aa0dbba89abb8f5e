"""Helpers that belong to no single part of the package.

``mmseg_lipcert.utils.cli`` and ``failures`` are imported by their full names only, never here: this
package must stay importable where the toolbox is missing, to be able to say so.
"""

from .toolbox import check_toolbox, import_quietly, register_packages

__all__ = ["check_toolbox", "import_quietly", "register_packages"]
