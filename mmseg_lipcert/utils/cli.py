"""What the command-line tools share: arguments and config loading."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from .failures import blame, describe
from .toolbox import register_packages
from .user_error import UserError

__all__ = ["CommandLineError", "add_common_arguments", "load_config"]

_LAUNCHERS = ("none", "pytorch", "slurm", "mpi")


class CommandLineError(UserError):
    """A mistake in the arguments of a tool."""


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
    register_packages()
    with blame(f"cannot load config {path}"):
        config = Config.fromfile(path)
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
