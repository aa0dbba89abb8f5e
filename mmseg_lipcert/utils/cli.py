"""What the command-line tools share: arguments and config loading."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.hub import get_config

from .failures import blame, describe
from .shipped import checkpoint_file
from .toolbox import register_packages
from .user_error import UserError

__all__ = [
    "CommandLineError",
    "add_cfg_options",
    "add_common_arguments",
    "check_checkpoint",
    "check_device",
    "check_output_file",
    "check_output_folder",
    "load_config",
    "load_definition",
]

_LAUNCHERS = ("none", "pytorch", "slurm", "mpi")


class CommandLineError(UserError):
    """A mistake in the arguments of a tool."""


class _SettingAction(DictAction):
    """MMEngine's ``DictAction`` that names what is no setting, and keeps the blanks of a path."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        """Collect the settings."""
        for value in values:
            if "=" not in value:
                parser.error(f"--cfg-options: {value!r} is no KEY=VALUE")
        try:
            super().__call__(parser, namespace, values, option_string)
        except AssertionError as error:
            parser.error(f"--cfg-options: {error}")
        settings = getattr(namespace, self.dest)
        for key, text in (value.split("=", maxsplit=1) for value in values):
            if isinstance(settings[key], str):  # out of which MMEngine takes the blanks
                settings[key] = text.strip("'\"")


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=_SettingAction,
        metavar="KEY=VALUE",
        help='override settings of the config, e.g. optim_wrapper.optimizer.lr=0.001 key="[a,b]" '
        'key=a,b key="[(a,b),(c,d)]" (quotes needed, no spaces inside)',
    )


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that MMSegmentation's train and test tools have in common.

    Args:
        parser: Parser that already has its positional arguments. It gets ``--work-dir``,
            ``--cfg-options``, ``--launcher`` and ``--local-rank``.
    """
    parser.add_argument("--work-dir", help="folder for logs, checkpoints and results")
    add_cfg_options(parser)
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
        path: Config file, or ``PACKAGE::PATH`` for one that an installed package ships, such as
            ``mmseg_lipcert::certify/smoothing.py``.
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
    package, separator, _ = os.fspath(path).partition("::")
    if separator and find_spec(package) is None:  # MMEngine would install it
        raise CommandLineError(f"config {path}: no package {package} is installed")
    if not separator and not Path(path).is_file():
        raise CommandLineError(f"config file {path} does not exist")
    os.environ.setdefault("LOCAL_RANK", str(local_rank))
    register_packages()
    with blame(f"cannot load config {path}"):
        config = get_config(path) if separator else Config.fromfile(path)
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
        config.work_dir = os.path.join("./work_dirs", Path(config.filename).stem)
    check_output_folder(config.work_dir, "work folder")
    return config


def load_definition(path: str | os.PathLike[str], name: str) -> dict[str, Any]:
    """A dictionary of this name from a config file.

    Raises:
        CommandLineError: If the file cannot be read, or does not define it.
    """
    definition = load_config(path).get(name)
    if definition is None:
        raise CommandLineError(f"{path} does not define `{name} = dict(...)`")
    return definition


def check_output_folder(path: str | os.PathLike[str] | None, what: str) -> None:
    """Require that a folder is there and can be written, or can be made.

    Args:
        path: The folder; None is no folder to check.
        what: What it is, for the message, such as ``"--out"``.

    Raises:
        CommandLineError: If it, or a folder above it, is a file or cannot be written.
    """
    if path is None:
        return
    path = Path(path)
    there = next(p for p in (path.absolute(), *path.absolute().parents) if os.path.lexists(p))
    if not there.is_dir():
        below = "" if there == path.absolute() else f", as {there} is no folder"
        raise CommandLineError(f"{what} {path} is a file, a folder is needed{below}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise CommandLineError(f"{what} {path}: {there} cannot be written; choose another folder")


def check_output_file(path: str | os.PathLike[str] | None, what: str) -> None:
    """Require that a file can be written.

    Args:
        path: The file; None is no file to check.
        what: What it is, for the message, such as ``"--json"``.

    Raises:
        CommandLineError: If it is a folder, or its folder does not exist or cannot be written.
    """
    if path is None:
        return
    path = Path(path)
    if path.is_dir():
        raise CommandLineError(f"{what} {path} is a folder, a file is needed")
    if not path.parent.is_dir():
        raise CommandLineError(f"{what}: folder {path.parent} does not exist")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise CommandLineError(f"{what} {path} cannot be written; choose another file")


def check_checkpoint(name: str | None) -> str | None:
    """Find the file that a checkpoint argument names.

    Args:
        name: A file, ``mmseg_lipcert::NAME`` for one of ``demo/checkpoints``, or ``none``.

    Returns:
        The file; None for ``none`` and for None.

    Raises:
        CommandLineError: If there is no such file.
    """
    if name is None or name == "none":
        return None
    file = checkpoint_file(name)
    if not file.is_file():
        raise CommandLineError(f"checkpoint {name} does not exist")
    return str(file)


def check_device(name: str) -> str:
    """Try a device, and give its name.

    Raises:
        CommandLineError: If PyTorch does not know it, or the machine has none.
    """
    try:
        torch.zeros(1, device=name)
    except Exception as error:  # of many kinds, one per backend
        reason = str(error).strip().splitlines()[0]
        raise CommandLineError(f"cannot use --device {name}: {reason}") from error
    return name
