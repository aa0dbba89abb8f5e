"""Errors of image decoders, with the name of the file."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def name_unreadable(path: str, kind: str) -> Iterator[None]:
    """Turn any error of the body that does not name a file into one that names ``path``.

    Args:
        path: The file that the body reads.
        kind: What the file is, for the message.

    Raises:
        ValueError: In place of an error without a file name.
        OSError: As raised by the body if it names the file (missing file, no permission).
    """
    try:
        yield
    except Exception as error:
        # Pillow's decoding errors are OSErrors too, but only those of the file system have a name.
        if isinstance(error, OSError) and error.filename is not None:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"cannot read {kind} {path}: not an image or damaged ({reason})"
        ) from error
