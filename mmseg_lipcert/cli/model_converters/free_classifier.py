"""Turn the orthogonal classifier of a checkpoint into a free one, as a start for fine-tuning."""

from __future__ import annotations

import argparse

import torch

from ...engine.loading import build_model, fill_model
from ...models.layers import fold_network
from ...models.segmentors import NativeLogits
from ...utils.cli import CommandLineError, load_config
from ...utils.failures import one_line_errors

HEAD = "decode_head.conv_seg."


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config of the network with the orthogonal classifier")
    parser.add_argument("checkpoint", help="its checkpoint")
    parser.add_argument("output", help="checkpoint for the same config with free_classifier=True")
    return parser.parse_args()


@one_line_errors
def main() -> None:
    """Convert the checkpoint; the network computes the same logits before and after."""
    args = parse_args()
    model = build_model(load_config(args.config))
    if getattr(getattr(model, "decode_head", None), "free_classifier", True):
        raise CommandLineError(f"the decode head of {args.config} has no orthogonal classifier")
    fill_model(model, args.checkpoint)
    state = model.state_dict()
    classifier = fold_network(NativeLogits(model)).decode_head.conv_seg.conv
    state = {key: value for key, value in state.items() if not key.startswith(HEAD)}
    state |= {HEAD + name: value.clone() for name, value in classifier.state_dict().items()}
    torch.save(dict(state_dict=state, meta={}), args.output)
    print(f"free classifier of {classifier.out_channels} classes, with the logits of the old one")
    print(f"lipcert train CONFIG_WITH_free_classifier=True --cfg-options load_from={args.output}")
