"""Join trained Lipschitz networks into one LipEnsemble: their mean, certified as one network.

Writes OUTPUT.py, the first config with the ensemble as its model, and OUTPUT.pth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from ...engine.loading import build_model, fill_model
from ...utils.checkpoint import read_checkpoint
from ...utils.cli import CommandLineError, load_config
from ...utils.failures import one_line_errors


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, help="what to write, without a suffix")
    parser.add_argument(
        "members", nargs="+", metavar="CONFIG CHECKPOINT", help="at least two networks"
    )
    return parser.parse_args()


@one_line_errors
def main() -> None:
    """Write the ensemble's config and checkpoint."""
    args = parse_args()
    if len(args.members) % 2 or len(args.members) < 4:
        raise CommandLineError(
            f"give at least two pairs CONFIG CHECKPOINT, got {len(args.members)} arguments"
        )
    config, *others = (load_config(path) for path in args.members[::2])
    checkpoints = args.members[1::2]
    state: dict[str, Tensor] = {}
    members = [config.model, *(other.model for other in others)]
    for index, (member, checkpoint) in enumerate(zip([config, *others], checkpoints, strict=True)):
        model = build_model(member)
        fill_model(model, checkpoint)
        prefix = f"others.{index - 1}." if index else ""
        state |= {
            prefix + key: value
            for key, value in model.state_dict().items()
            if not key.startswith("auxiliary_head.")
        }
    config.model = dict(
        type="LipEnsemble",
        members=members,
        data_preprocessor=config.model.data_preprocessor,
        test_cfg=config.model.get("test_cfg"),
    )
    model = build_model(config)
    model.load_state_dict(state)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    meta = read_checkpoint(checkpoints[0]).get("meta", {})
    names = {key: meta[key] for key in ("dataset_meta",) if key in meta}
    torch.save(dict(state_dict=state, meta=names), args.output.with_suffix(".pth"))
    config.dump(args.output.with_suffix(".py"))
    print(f"written to {args.output.with_suffix('.py')} and {args.output.with_suffix('.pth')}")
