"""Train a segmentor or a denoiser: MMSegmentation's tool, with clear errors before long work."""

import argparse
import logging
from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.runner import find_latest_checkpoint
from mmseg.datasets import BaseSegDataset
from mmseg.registry import RUNNERS
from torch import nn
from torch.nn.utils import parametrize

from ..engine.checks import warn_about_one_class
from ..engine.loading import build_dataset, check_first_item
from ..engine.tool_runner import ToolRunner
from ..utils.cli import CommandLineError, add_common_arguments, load_config
from ..utils.failures import blame, one_line_errors

# Items whose labels are looked at before a training.
_LOOKED_AT = 8
_NEEDED = ("model", "train_dataloader", "train_cfg", "optim_wrapper")


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Train a segmentor, or a denoiser")
    parser.add_argument("config", help="training config")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the latest checkpoint in the work folder",
    )
    parser.add_argument("--amp", action="store_true", help="train in mixed precision")
    add_common_arguments(parser)
    return parser.parse_args()


def enable_amp(config: Config) -> None:
    """Switch the optimizer wrapper of ``config`` to mixed precision, in place.

    Raises:
        CommandLineError: If the wrapper has no mixed-precision form, or there is no accelerator.
    """
    wrapper = config.optim_wrapper.get("type", "OptimWrapper")
    if wrapper == "AmpOptimWrapper":
        print_log("AMP is already enabled in the config", "current", logging.WARNING)
    elif wrapper == "OptimWrapper":
        config.optim_wrapper.type = "AmpOptimWrapper"
        config.optim_wrapper.setdefault("loss_scale", "dynamic")
    else:
        raise CommandLineError(
            f"--amp needs the optimizer wrapper OptimWrapper, the config has {wrapper}"
        )
    if get_device() in ("cpu", "mps"):
        raise CommandLineError(f"--amp needs a GPU or another accelerator, found {get_device()}")


def check_start(config: Config) -> None:
    """Check what training starts from, and warn if ``--resume`` finds nothing to resume.

    Raises:
        CommandLineError: If a checkpoint to start from does not exist.
    """
    if config.get("load_from"):
        checkpoint, origin = config.load_from, "load_from"
    elif config.resume and Path(config.work_dir, "last_checkpoint").is_file():
        checkpoint = find_latest_checkpoint(config.work_dir)
        origin = f"last_checkpoint of {config.work_dir}"
    else:
        if config.resume:
            print_log(
                f"--resume: no checkpoint in {config.work_dir}, training starts from scratch",
                "current",
                logging.WARNING,
            )
        return
    if "://" not in checkpoint and not Path(checkpoint).is_file():
        raise CommandLineError(f"checkpoint {checkpoint} ({origin}) does not exist")


def check_datasets(config: Config) -> None:
    """Read one item of each dataset, so that bad data end the run before its first iteration.

    Raises:
        UserError: If a dataset cannot be built, is empty, or its pipeline refuses the first image.
    """
    for key in ("train_dataloader", "val_dataloader"):
        if config.get(key) is not None:
            dataset = build_dataset(config, key)
            check_first_item(dataset, key)
            warn_about_hidden_classes(dataset)


def warn_about_hidden_classes(dataset: BaseSegDataset) -> None:
    """Warn if some items have one class and ignored pixels only, as masks of 0 and 255 do."""
    samples = [dataset[i].get("data_samples", ()) for i in range(min(_LOOKED_AT, len(dataset)))]
    ignored = getattr(dataset, "ignore_index", None)
    classes = getattr(dataset, "metainfo", {}).get("classes") or ()
    found = {
        label
        for sample in samples
        if "gt_sem_seg" in sample
        for label in sample.gt_sem_seg.data.unique().tolist()
    }
    if ignored is not None and ignored in found:
        warn_about_one_class(sorted(found - {ignored}), len(classes), ignored)


def warn_about_amp(model: nn.Module) -> None:
    """Warn if layers with constrained weights are about to be trained in mixed precision."""
    constrained = sum(parametrize.is_parametrized(module) for module in model.modules())
    if constrained:
        print_log(
            f"--amp: {constrained} layers have constrained weights. These are computed in float32, "
            "but the network trains in half precision and is certified in float32: compare the "
            "accuracy of both before relying on this run",
            "current",
            logging.WARNING,
        )


@one_line_errors
def main() -> None:
    """Train."""
    args = parse_args()
    config = load_config(
        args.config, args.cfg_options, args.work_dir, args.launcher, args.local_rank
    )
    missing = [key for key in _NEEDED if config.get(key) is None]
    if missing:
        raise CommandLineError(f"config {args.config} cannot be trained: no {', '.join(missing)}")
    if args.amp:
        enable_amp(config)
    config.resume = args.resume
    check_start(config)
    init_default_scope(config.get("default_scope", "mmseg"))
    check_datasets(config)
    with blame(f"cannot run config {args.config}"):
        runner = RUNNERS.build(config) if "runner_type" in config else ToolRunner.from_cfg(config)
        _ = runner.train_loop  # built on first use
    if args.amp:
        warn_about_amp(runner.model)
    runner.train()
