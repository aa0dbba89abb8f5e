"""How a tool fails: in one line that names what is wrong, with an exit status that scripts know."""

from __future__ import annotations

import errno
import functools
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.logging import MMLogger

from .user_error import UserError

__all__ = ["blame", "describe", "one_line_errors", "user_line", "work_begins"]

_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_ADVICE = {
    errno.ENOSPC: "free some space, then start again (with --resume where the tool has it)",
    errno.EDQUOT: "free some space, then start again (with --resume where the tool has it)",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "choose a file or folder with the permissions for it",
    errno.EPERM: "choose a file or folder with the permissions for it",
    errno.ENOTDIR: "a part of the path is a file where a folder is needed",
    errno.EISDIR: "a file is needed, this is a folder",
    errno.EEXIST: "it is there already, as something else",
    errno.ENAMETOOLONG: "choose a shorter name",
}
# What PyTorch says where memory or the device is full; neither has a class of its own.
_NO_MEMORY = ("can't allocate memory", "not enough memory", "Storage size calculation overflowed")
_NO_SPACE = ("PytorchStreamWriter failed", "unexpected pos")
# Functions that make a batch of images, of mmseg, MMEngine and PyTorch, and what they say of sizes.
_BATCHING = (" in stack_batch", "data_preprocessor.py", " in default_collate", " in collate")
_SIZES = ("size in a batch should be the same", "stack expects each tensor to be equal size")

_begun = False


def work_begins() -> None:
    """Note that the long work of a tool begins: from now on a failure ends it with status 1."""
    global _begun
    _begun = True


def one_line_errors(main: Callable[..., int | None]) -> Callable[..., int]:
    """Decorate the ``main`` of a tool: whatever it raises becomes one line on stderr.

    The exit status is that of ``main`` (None means 0); 2 for a failure before any work (see
    :func:`work_begins`), 1 for a later one, 130 for an interruption by the keyboard. The traceback
    of an error that is nobody's mistake (see :func:`user_line`) is kept in the log file of the run,
    or in a temporary file, and the line says where.

    Pickled code never runs below: every ``torch.load`` is restricted to weights.

    Args:
        main: The tool.

    Returns:
        The tool that returns its exit status and raises nothing but ``SystemExit``.
    """

    @functools.wraps(main)
    def guarded(*args: object, **kwargs: object) -> int:
        global _begun
        _begun = False
        # Read by PyTorch at every call of torch.load, also of those inside of the toolboxes, of
        # which one tries again without the restriction.
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
        os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
        # A log that cannot be written would print a traceback for every message.
        logging.raiseExceptions = False
        try:
            return main(*args, **kwargs) or 0
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        except Exception as error:
            line = user_line(error)
            kept = _keep_traceback(error, line is None)
            if line is None:
                line = f"{describe(error)} (unexpected; the traceback is in {kept})"
            print(f"error: {line}", file=sys.stderr)
            return 1 if _begun else 2

    return guarded


@contextmanager
def blame(what: str) -> Iterator[None]:
    """Turn any exception of the body into a ``UserError``: the body runs what the user gave.

    Configs, models, transforms and decoders are programs, which may raise anything.

    Args:
        what: What failed, for example ``"cannot build the model of tiny.py"``.

    Raises:
        UserError: ``what`` and the reason. One raised by the body passes as it is.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what}: {user_line(error) or describe(error)}") from error


def user_line(error: BaseException) -> str | None:
    """One line for an error that the user or the machine is to blame for, without traceback.

    These are ``UserError``, errors of the operating system, a lack of memory, and whatever a
    ``raise`` statement of this package has raised, which is a check.

    Returns:
        The line; None for an error that nobody foresaw.
    """
    text = _one_line(str(error))
    if isinstance(error, OSError):
        return _system_line(error)
    if _from_worker(error) and isinstance(error, (UserError, ValueError)):
        return describe(error)
    if isinstance(error, UserError):
        return text
    if isinstance(error, MemoryError) or _says(error, _NO_MEMORY, "OutOfMemoryError"):
        return (
            "out of memory: take smaller images, batches, or fewer --draws-per-batch "
            f"({describe(error)[:200]})"
        )
    if _unequal_images(error):
        return (
            "images of different sizes in one batch: set batch_size=1 in their dataloader, or give "
            "them one size in its pipeline, by Resize(keep_ratio=False), RandomCrop or Pad "
            f"({describe(error)[:200]})"
        )
    if _says(error, _NO_SPACE):
        return f"a checkpoint could not be written, {_ADVICE[errno.ENOSPC]}: {text[:200]}"
    return text if _raised_by_a_check(error) else None


def describe(error: BaseException) -> str:
    """Write an exception as one line: its type and its message without line breaks.

    Of an error that a process of a dataloader passed on, the line is the original's.
    """
    if _from_worker(error):
        return _one_line(str(error).strip().splitlines()[-1])
    message = _one_line(str(error))
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _from_worker(error: BaseException) -> bool:
    """Whether a process of a dataloader raised it first; the message then holds its traceback."""
    return "DataLoader worker" in str(error) and "Original Traceback" in str(error)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _system_line(error: OSError) -> str:
    # Without a number it was raised by a program, whose message is complete.
    reason = describe(error) if _from_worker(error) else error.strerror or str(error)
    advice = _ADVICE.get(error.errno or 0)
    if error.filename is not None:
        where = f"{os.fsdecode(error.filename)}: "
    else:
        log = _log_file()
        where = f"below {log.parent}: " if error.errno == errno.ENOSPC and log else ""
    return _one_line(f"{where}{reason}" + (f"; {advice}" if advice else ""))


def _says(error: BaseException, texts: tuple[str, ...], name: str | None = None) -> bool:
    """Whether an error of PyTorch has this class name, or one of these texts in its message."""
    return type(error).__name__ == name or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
    )


def _unequal_images(error: BaseException) -> bool:
    """Whether a batch could not be made because its images differ in size."""
    if not any(text in str(error) for text in _SIZES):
        return False
    trace = "".join(traceback.format_exception(error))
    return any(place in trace for place in _BATCHING)


def _raised_by_a_check(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(
        frames
        and frames[-1].filename.startswith(_PACKAGE)
        and (frames[-1].line or "").startswith("raise ")
    )


def _keep_traceback(error: BaseException, needed: bool) -> str:
    """Append the traceback to the log file of the run; without one, if needed, to a new file."""
    text = "".join(traceback.format_exception(error))
    log = _log_file()
    try:
        if log is None:
            if not needed:
                return ""
            handle, name = tempfile.mkstemp(prefix="mmseg_lipcert-", suffix=".log")
            os.close(handle)
            log = Path(name)
        with open(log, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"\n{text}")
    except OSError:
        if needed:
            print(text, file=sys.stderr)
        return "the lines above"
    return str(log)


def _log_file() -> Path | None:
    """Log file of the current MMEngine logger, if there is any."""
    for handler in MMLogger.get_current_instance().handlers:
        if isinstance(handler, logging.FileHandler):
            return Path(handler.baseFilename)
    return None
