"""Test a segmentor, or certify it: what an attacker with a given budget can do at worst."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import cast

from mmengine.config import Config
from mmengine.model import is_model_wrapper
from torch import nn

from ..engine.certify_cli import (
    add_certify_arguments,
    refuse_certify_flags,
    request_certification,
)
from ..engine.checks import file_digest
from ..engine.loading import build_dataset, check_first_item, check_preprocessor
from ..engine.tool_runner import ToolRunner
from ..utils.cli import (
    CommandLineError,
    add_common_arguments,
    check_checkpoint,
    check_output_folder,
    load_config,
)
from ..utils.failures import blame, one_line_errors


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file; none for a network in a file")
    add_common_arguments(parser)
    parser.add_argument(
        "--out", help="folder for predictions; with --certify: for certificate.json and its maps"
    )
    parser.add_argument("--show", action="store_true", help="show predictions in a window")
    parser.add_argument(
        "--show-dir", help="folder for painted images; with --certify: for certificate pictures"
    )
    parser.add_argument("--wait-time", type=float, default=2, help="seconds per shown image")
    parser.add_argument("--tta", action="store_true", help="test time augmentation")
    parser.add_argument("--seed", type=int, help="random seed; by default the config's")
    add_certify_arguments(parser)
    args = parser.parse_args(arguments)
    if args.certify is None:
        refuse_certify_flags(args)
    check_output_folder(args.out, "--out")
    check_output_folder(args.show_dir, "--show-dir")
    args.checkpoint = check_checkpoint(args.checkpoint)
    return args


def check_checkpoint_needed(checkpoint: str | None, model: nn.Module) -> None:
    """Refuse a checkpoint for a network that is a file, and any other network without."""
    if checkpoint is None and file_digest(model) is None:
        raise CommandLineError(
            f"{type(model).__name__} needs a checkpoint; only a network in a file, such as an "
            "OnnxSegmentor, goes with none"
        )
    if checkpoint is not None and file_digest(model) is not None:
        raise CommandLineError(
            f"{checkpoint} cannot be loaded into a network that is a file: give none instead"
        )


def request_visualization(config: Config, args: argparse.Namespace) -> None:
    """Turn the stock visualization hook on."""
    hook = config.get("default_hooks", {}).get("visualization")
    if hook is None:
        raise CommandLineError(
            "--show and --show-dir need default_hooks.visualization in the config, "
            "e.g. dict(type='SegVisualizationHook')"
        )
    hook["draw"] = True
    if args.show:
        hook["show"], hook["wait_time"] = True, args.wait_time
    if args.show_dir:
        config.visualizer["save_dir"] = args.show_dir


@one_line_errors
def main() -> None:
    """Run the tool."""
    args = parse_args()
    config = load_config(
        args.config, args.cfg_options, args.work_dir, args.launcher, args.local_rank
    )
    dataset = build_dataset(config)  # refuses missing data before any work
    if not args.certify:  # which reads all of them
        check_first_item(dataset, "test_dataloader")
    config.load_from = args.checkpoint
    if args.seed is not None:
        config.randomness = dict(config.get("randomness", {}), seed=args.seed)
    if args.certify:
        request_certification(config, args)
    elif args.show or args.show_dir:
        request_visualization(config, args)
    if args.tta:
        missing = [name for name in ("tta_model", "tta_pipeline") if config.get(name) is None]
        if missing:
            raise CommandLineError(f"--tta needs {' and '.join(missing)} in the config")
        config.test_dataloader.dataset.pipeline = config.tta_pipeline
        config.tta_model.module = config.model
        config.model = config.tta_model
    if args.out and not args.certify:
        evaluators = config.test_evaluator
        for evaluator in evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]:
            evaluator["output_dir"], evaluator["keep_results"] = args.out, True
    with blame(f"cannot run config {args.config}"):
        runner = ToolRunner.from_cfg(config)
        model = runner.model
        model = cast(nn.Module, model.module) if is_model_wrapper(model) else model
        check_checkpoint_needed(args.checkpoint, model)
        check_preprocessor(model)
        _ = runner.test_loop  # built on first use
    try:
        runner.test()
    except KeyboardInterrupt:
        if args.certify:
            print("finished images are kept: go on with --resume", file=sys.stderr)
        raise
