"""Finish a trained Lipschitz network: fit one logit shift per class on the validation split.

A constant added to a class's logits changes no norm, so that the bound stays what it is, while
rare classes gain. The shifts are added to the classifier's bias, and the checkpoint is written
without what only training needs. They are fitted on the config's validation split, by coordinate
ascent on the sum of pixel accuracy and mIoU.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from ...engine.loading import build_dataset, build_model, fill_model
from ...models.segmentors import LipEncoderDecoder
from ...utils.cli import CommandLineError, load_config
from ...utils.failures import one_line_errors

ROUNDS = 8


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config of a LipEncoderDecoder")
    parser.add_argument("checkpoint", help="its checkpoint")
    parser.add_argument("output", type=Path, help="the checkpoint to write")
    parser.add_argument("--every", type=int, default=1, help="take every K-th validation image")
    parser.add_argument("--half", action="store_true", help="write weights in half precision")
    parser.add_argument("--no-shifts", action="store_true", help="fit no shifts")
    return parser.parse_args()


@torch.no_grad()
def collect(model: LipEncoderDecoder, dataset, every: int) -> tuple[Tensor, Tensor]:
    """Native logits (n, K) and the label in the middle of each cell (n,), without ignored ones."""
    logits, labels = [], []
    for index in range(0, len(dataset), every):
        data = dataset[index]
        batch = dict(inputs=[data["inputs"]], data_samples=[data["data_samples"]])
        native = model.network(model.data_preprocessor(batch)["inputs"])[0]
        target = data["data_samples"].gt_sem_seg.data[0].long()
        middle = model.logit_stride // 2
        target = target[middle :: model.logit_stride, middle :: model.logit_stride]
        native = native[:, : target.shape[0], : target.shape[1]]
        valid = target != model.decode_head.ignore_index
        logits.append(native[:, valid].T)
        labels.append(target[valid])
    return torch.cat(logits), torch.cat(labels)


def score(logits: Tensor, labels: Tensor) -> float:
    """Pixel accuracy plus mIoU over the classes that occur."""
    classes = logits.shape[1]
    pairs = torch.bincount(labels * classes + logits.argmax(1), minlength=classes**2)
    confusion = pairs.reshape(classes, classes).double()
    right = confusion.diag()
    union = confusion.sum(0) + confusion.sum(1) - right
    return float(right.sum() / confusion.sum() + (right / union)[union > 0].mean())


def fit_shifts(logits: Tensor, labels: Tensor) -> Tensor:
    """Coordinate ascent on :func:`score` from zero shifts, with steps that shrink; shape (K,)."""
    shifts = logits.new_zeros(logits.shape[1])
    best = score(logits, labels)
    # A typical distance between the two best classes is the first step.
    top = logits.topk(2, dim=1).values
    step = float((top[:, 0] - top[:, 1]).median())
    for _ in range(ROUNDS):
        for index in range(len(shifts)):
            for change in (step, -step):
                trial = shifts.clone()
                trial[index] += change
                value = score(logits + trial, labels)
                if value > best:
                    best, shifts = value, trial
        step /= 2
    return shifts


@one_line_errors
def main() -> None:
    """Fit the shifts and write the checkpoint."""
    args = parse_args()
    config = load_config(args.config)
    model = build_model(config)
    if not isinstance(model, LipEncoderDecoder) or model.decode_head.out_channels < 2:
        raise CommandLineError(f"{args.config} has no LipEncoderDecoder of at least two classes")
    if args.every < 1:
        raise CommandLineError(f"--every must be at least 1, got {args.every}")
    fill_model(model, args.checkpoint)
    dataset = build_dataset(config, "val_dataloader")
    if not args.no_shifts:
        logits, labels = collect(model.eval(), dataset, args.every)
        shifts = fit_shifts(logits, labels)
        before, after = score(logits, labels), score(logits + shifts, labels)
        print(f"accuracy + mIoU on {len(labels)} cells: {before:.4f} -> {after:.4f}")
        print("shifts:", ", ".join(f"{value:.4g}" for value in shifts.tolist()))
        model.add_to_logits(shifts)
    state = {
        key: value.half() if args.half and value.is_floating_point() else value
        for key, value in model.state_dict().items()
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    # Without the names of the classes MMSegmentation's init_model would take those of Cityscapes.
    names = {key: dataset.metainfo[key] for key in ("classes", "palette")}
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=names)), args.output)
    print(f"written to {args.output} ({args.output.stat().st_size / 2**20:.2f} MiB)")
