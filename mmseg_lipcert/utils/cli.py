"""What the command-line tools share: arguments, config loading and one-line errors."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from mmengine.config import Config, DictAction

__all__ = ["CommandLineError", "add_common_arguments", "describe", "load_config", "run_main"]

_LAUNCHERS = ("none", "pytorch", "slurm", "mpi")


class CommandLineError(Exception):
    """A mistake in what the user gave to a tool; shown as one line, without a traceback."""


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that MMSegmentation's train and test tools have in common.

    Args:
        parser: Parser that already has its positional arguments. It gets ``--work-dir``,
            ``--cfg-options``, ``--launcher`` and ``--local-rank``.
    """
    parser.add_argument("--work-dir", help="folder for logs, checkpoints and results")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help='override settings of the config, e.g. optim_wrapper.optimizer.lr=0.001 key="[a,b]" '
        'key=a,b key="[(a,b),(c,d)]" (quotes needed, no spaces inside)',
    )
    parser.add_argument("--launcher", choices=_LAUNCHERS, default="none", help="job launcher")
    # torch.distributed.launch passes the rank as an argument, torchrun as an environment variable.
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0, help=argparse.SUPPRESS)


def load_config(
    path: str | os.PathLike[str],
    cfg_options: dict[str, Any] | None = None,
    work_dir: str | os.PathLike[str] | None = None,
    launcher: str = "none",
    local_rank: int = 0,
) -> Config:
    """Read a config as MMSegmentation's own tools do, with one-line errors for what is wrong in it.

    The work folder is, in this order: the one given here, ``work_dir`` of the config, and
    ``./work_dirs/<config name>``. ``LOCAL_RANK`` is set for the launchers that do not set it.

    Args:
        path: Config file.
        cfg_options: Overrides, as ``DictAction`` parses them. Defaults to None.
        work_dir: Work folder from the command line. Defaults to None.
        launcher: Job launcher. Defaults to "none".
        local_rank: Rank on this machine, as the launcher passed it. Defaults to 0.

    Returns:
        The merged config, with ``launcher`` and ``work_dir`` set.

    Raises:
        CommandLineError: If the config does not exist, cannot be read or imported, if an override
            does not fit it, or if the work folder is a file.
    """
    path = Path(path)
    if not path.is_file():
        raise CommandLineError(f"config file {path} does not exist")
    os.environ.setdefault("LOCAL_RANK", str(local_rank))
    try:
        config = Config.fromfile(path)
    # A config is the user's program: whatever it raises is about the user's input.
    except Exception as error:
        raise CommandLineError(f"cannot load config {path}: {describe(error)}") from error
    config.launcher = launcher
    if cfg_options:
        try:
            config.merge_from_dict(cfg_options)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise CommandLineError(
                f"--cfg-options do not fit config {path}: {describe(error)}"
            ) from error
    if work_dir is not None:
        config.work_dir = os.fspath(work_dir)
    elif config.get("work_dir") is None:
        config.work_dir = os.path.join("./work_dirs", path.stem)
    if Path(config.work_dir).exists() and not Path(config.work_dir).is_dir():
        raise CommandLineError(f"work folder {config.work_dir} is a file, a folder is needed")
    return config


def describe(error: BaseException) -> str:
    """Write an exception as one line: its type and its message without line breaks."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def run_main(main: Callable[[], int | None]) -> NoReturn:
    """Run a tool and leave the process: user errors become one line on stderr and exit code 2.

    An interruption by the keyboard ends with exit code 130.

    Args:
        main: The tool. Its return value is the exit code; None means 0.
    """
    try:
        code = main()
    except CommandLineError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code or 0)
