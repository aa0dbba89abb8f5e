"""What is shipped with the package, beside its modules."""

import os
from pathlib import Path


def shipped_file(path: str) -> Path:
    """A file or folder of ``configs`` or ``demo``: in the installed package or, in a clone, beside.

    Args:
        path: From the root of the repository, such as ``"demo/checkpoints"``.
    """
    package = Path(__file__).parents[1]
    installed = package / ".mim" / path
    return installed if installed.exists() else package.parent / path


def checkpoint_file(name: str | os.PathLike[str]) -> Path:
    """The file that a checkpoint is named by.

    Args:
        name: A file, or ``mmseg_lipcert::NAME`` for one of ``demo/checkpoints``.
    """
    package, _, shipped = os.fspath(name).partition("::")
    return shipped_file(f"demo/checkpoints/{shipped}") if package == "mmseg_lipcert" else Path(name)
