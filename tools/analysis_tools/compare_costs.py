"""What the tighter costs are worth on real logits: exact entry costs, and classifier-aware ones.

Entry costs: the exact distance to a class's cell against the half-space bound
``(z_max - z_c) / sqrt(2)``. Flip costs of a head with ``free_classifier``: through the classifier's
weights, ``(z_i - z_j) / |w_i - w_j|`` with the bound of the features, against
``(z_i - z_j) / sqrt(2)`` with that bound times the classifier's norm.
"""

from __future__ import annotations

import argparse
import sys

import torch
from mmengine.config import Config
from mmseg.datasets import BaseSegDataset
from prettytable import PrettyTable

from mmseg_lipcert.certificates import entry_costs, flip_costs, worst_case
from mmseg_lipcert.engine.loading import build_dataset, build_model, fill_model
from mmseg_lipcert.lipschitz import matrix_norm_bound
from mmseg_lipcert.models.segmentors import LipEncoderDecoder
from mmseg_lipcert.utils.cli import CommandLineError, load_config
from mmseg_lipcert.utils.failures import one_line_errors


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config of a LipEncoderDecoder")
    parser.add_argument("checkpoint", help="its checkpoint")
    parser.add_argument("--every", type=int, default=1, help="take every K-th test image")
    parser.add_argument("--limit", type=int, help="take at most N images")
    parser.add_argument("--eps", nargs="+", type=float, default=[0.1, 0.17, 0.5, 1.0])
    return parser.parse_args()


def build(config: Config, checkpoint: str) -> tuple[torch.nn.Module, BaseSegDataset]:
    """Build the trained model and the test dataset."""
    model = build_model(config)
    if not isinstance(model, LipEncoderDecoder):
        raise CommandLineError(f"{type(model).__name__} is not a LipEncoderDecoder")
    fill_model(model, checkpoint)
    return model.eval(), build_dataset(config)


@one_line_errors
@torch.no_grad()
def main() -> None:
    """Compare the costs on test images and print the tables."""
    args = parse_args()
    model, dataset = build(load_config(args.config), args.checkpoint)
    entry, flip, accuracy = [], [], []
    for index in list(range(0, len(dataset), args.every))[: args.limit]:
        data = dataset[index]
        batch = dict(inputs=[data["inputs"]], data_samples=[data["data_samples"]])
        inputs = model.data_preprocessor(batch)["inputs"]
        logits = model.network(inputs)[0]
        target = data["data_samples"].gt_sem_seg.data[0].long()
        top = logits.amax(0).double()
        for class_index in range(len(logits)):
            half_space = (top - logits[class_index].double()) / 2**0.5
            outside = (half_space > 0) & (target != 255)
            ratio = entry_costs(logits, class_index)[outside] / half_space[outside]
            entry.append(ratio.mean())
        if not model.has_free_classifier:
            continue
        classifier = model.lipschitz_audit(tuple(inputs.shape[2:])).classifier
        norm = matrix_norm_bound(classifier)
        bound = model.lipschitz_bound(tuple(inputs.shape[2:]))
        plain = flip_costs(logits) / norm
        aware = flip_costs(logits, classifier=classifier)
        valid = (target != 255) & (plain > 0)
        flip.append((aware[valid] / plain[valid]).mean())
        values = [
            worst_case(logits, target, "pixel_accuracy", args.eps, bound * norm),
            worst_case(logits, target, "pixel_accuracy", args.eps, bound, classifier=classifier),
        ]
        accuracy.append(torch.stack(values))
    print(f"exact entry cost / half-space bound, mean: {torch.stack(entry).nanmean():.3f}")
    if not flip:
        print("the classifier is orthogonal: classifier-aware costs are the plain ones")
        return
    print(f"classifier-aware flip cost / plain one, mean: {torch.stack(flip).mean():.3f}")
    table = PrettyTable(["certified pixel accuracy", *(f"{eps:g}" for eps in args.eps)])
    plain, aware = torch.stack(accuracy).mean(0).tolist()
    table.add_row(["plain", *(f"{100 * value:.2f}" for value in plain)])
    table.add_row(["classifier-aware", *(f"{100 * value:.2f}" for value in aware)])
    print(table)


if __name__ == "__main__":
    sys.exit(main())
