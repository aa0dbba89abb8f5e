"""What is shipped with the package, beside its modules."""

from pathlib import Path


def shipped_file(path: str) -> Path:
    """A file or folder of ``configs`` or ``demo``: in the installed package or, in a clone, beside.

    Args:
        path: From the root of the repository, such as ``"demo/checkpoints"``.
    """
    package = Path(__file__).parents[1]
    installed = package / ".mim" / path
    return installed if installed.exists() else package.parent / path
