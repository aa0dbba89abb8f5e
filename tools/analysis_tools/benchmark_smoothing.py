"""Time what smoothing adds to the bare forward passes, and what its statistics cost."""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from prettytable import PrettyTable

from mmseg_lipcert.certificates import SmoothingSettings, smoothing_entry
from mmseg_lipcert.models.segmentors import SmoothedSegmentor
from mmseg_lipcert.utils.cli import load_config
from mmseg_lipcert.utils.failures import one_line_errors


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("config", help="config of the segmentor; its weights stay random")
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), help="height and width")
    parser.add_argument("--draws", type=int, default=20, help="draws per measurement")
    parser.add_argument("--batch", type=int, default=1, help="draws per forward pass")
    parser.add_argument("--repeat", type=int, default=7, help="measurements")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    return parser.parse_args()


def sample(size: tuple[int, int]) -> SegDataSample:
    """A sample of an image of this size."""
    return SegDataSample(metainfo=dict(img_path="a.png", ori_shape=size, img_shape=size))


def timed(work) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@one_line_errors
def main() -> None:
    """Measure forward passes with and without smoothing in turn, then the statistics."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    size = tuple(args.size)
    with DefaultScope.overwrite_default_scope("mmseg"):
        segmentor = revert_sync_batchnorm(MODELS.build(load_config(args.config).model)).eval()
    smoothed = SmoothedSegmentor(
        segmentor, n0=1, n=args.draws - 2, draws_per_batch=args.batch
    ).eval()
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)

    @torch.no_grad()
    def bare() -> None:
        for first in range(0, args.draws, args.batch):
            count = min(args.batch, args.draws - first)
            data = dict(inputs=[image] * count, data_samples=[sample(size) for _ in range(count)])
            segmentor.test_step(data)

    def draws() -> None:
        smoothed.test_step(dict(inputs=[image], data_samples=[sample(size)]))

    bare(), draws()
    pairs = [(timed(bare), timed(draws)) for _ in range(args.repeat)]

    settings = SmoothingSettings(0.25, 10, 100, 0.001, (0.75,))
    labels = torch.randint(0, 19, (1024, 2048))
    hits = torch.randint(60, 101, labels.shape)
    entries = [
        timed(lambda: smoothing_entry(labels, hits, labels, labels, settings, 19))
        for _ in range(args.repeat)
    ]
    table = PrettyTable(["", "median", "min", "max"], align="r")
    table.align[""] = "l"
    for title, values in (
        ("bare forward pass, seconds", [one / args.draws for one, _ in pairs]),
        ("draw of a smoothed segmentor, seconds", [other / args.draws for _, other in pairs]),
        ("ratio, pair by pair", [other / one for one, other in pairs]),
        ("statistics of 1024x2048 pixels, seconds", entries),
    ):
        figures = (statistics.median(values), min(values), max(values))
        table.add_row([title, *(f"{figure:.4f}" for figure in figures)])
    print(f"{size[0]}x{size[1]}, {args.draws} draws, {args.threads} threads\n{table}")


if __name__ == "__main__":
    sys.exit(main())
