"""The command-line tools, one module each: ``lipcert NAME`` and the scripts in ``tools`` call them.

Importing this package registers all components, so that every tool knows them, whatever its config
imports.
"""

from .. import registration  # noqa: F401
