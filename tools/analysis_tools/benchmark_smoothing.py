"""Time a draw of smoothing against the segmentor's bare prediction, and the statistics."""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.model import revert_sync_batchnorm
from mmseg.structures import SegDataSample
from prettytable import PrettyTable
from torch import Tensor, nn

from mmseg_lipcert.certificates import SmoothingSettings, smoothing_entry
from mmseg_lipcert.engine.loading import build_model
from mmseg_lipcert.models.segmentors import SmoothedSegmentor
from mmseg_lipcert.utils.cli import load_config
from mmseg_lipcert.utils.failures import blame, one_line_errors
from mmseg_lipcert.utils.toolbox import register_packages

_CLOCKS = dict(wall=time.perf_counter, cpu=time.process_time)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "config", nargs="+", help="configs of segmentors, whose weights stay random; mmseg::NAME"
    )
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), help="height and width")
    parser.add_argument("--draws", type=int, default=4, help="draws per measurement, at least 3")
    parser.add_argument("--batch", type=int, default=1, help="draws per forward pass")
    parser.add_argument("--repeat", type=int, default=7, help="measurements")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--autocast", choices=("bfloat16", "float16"), help="also in this type")
    parser.add_argument(
        "--clock",
        choices=tuple(_CLOCKS),
        default="wall",
        help="time that passes, or that the processor works: steadier on a busy machine, but "
        "without what runs at the same time",
    )
    return parser.parse_args()


def sample_of(size: tuple[int, int]) -> SegDataSample:
    """A sample of an image of this size."""
    return SegDataSample(metainfo=dict(img_path="a.png", ori_shape=size, img_shape=size))


def variants(autocast: str | None) -> dict[str, dict]:
    """Options of the smoothed segmentor by title."""
    found = {
        "draw": dict(channels_last=False),
        "draw, channels_last": dict(channels_last=True),
    }
    if autocast:
        found[f"draw, channels_last, {autocast}"] = dict(channels_last=True, autocast=autocast)
    return found


def time_network(
    segmentor: nn.Module, image: Tensor, args: argparse.Namespace, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds per draw or bare prediction, one after the other in every round."""
    size = tuple(image.shape[1:])
    untouched = copy.deepcopy(segmentor)  # a smoothed segmentor changes how its module computes
    models = {
        title: SmoothedSegmentor(
            segmentor, n0=1, n=args.draws - 2, draws_per_batch=args.batch, **options
        ).eval()
        for title, options in variants(args.autocast).items()
    }

    def bare() -> None:
        for first in range(0, args.draws, args.batch):
            count = min(args.batch, args.draws - first)
            samples = [sample_of(size) for _ in range(count)]
            untouched.test_step(dict(inputs=[image] * count, data_samples=samples))

    def draw(model: SmoothedSegmentor) -> None:
        # One of them without noise, as in a certification.
        model.test_step(dict(inputs=[image], data_samples=[sample_of(size)]))

    seconds = {title: [] for title in ("bare prediction", *models)}
    for measured in [False] + [True] * args.repeat:
        for title in seconds:
            last = variants(args.autocast).get(title, {}).get("channels_last")
            segmentor.to(memory_format=torch.channels_last if last else torch.contiguous_format)
            started = clock()
            draw(models[title]) if title in models else bare()
            if measured:
                seconds[title].append((clock() - started) / args.draws)
    return seconds


def figures(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} - {max(values):.3f})"


@one_line_errors
@torch.no_grad()
def main() -> None:
    """Measure every network, then the statistics."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    clock, size = _CLOCKS[args.clock], tuple(args.size)
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    print(
        f"{size[0]}x{size[1]}, {args.draws} draws, {args.batch} per forward pass, {args.threads} "
        f"threads, {args.clock} time, median (min - max) of {args.repeat}",
        flush=True,
    )
    for path in args.config:
        segmentor = revert_sync_batchnorm(build_model(load_random(path))).eval()
        seconds = time_network(segmentor, image, args, clock)
        base = seconds["bare prediction"]
        table = PrettyTable([path.rsplit("/")[-1], "seconds", "ratio"], align="l")
        for title, values in seconds.items():
            ratios = [one / other for one, other in zip(values, base, strict=True)]
            table.add_row([title, figures(values), figures(ratios)])
        print(table, flush=True)
    settings = SmoothingSettings(0.25, 10, 100, 0.001, (0.75,))
    labels = torch.randint(0, 19, (1024, 2048))
    hits = torch.randint(60, 101, labels.shape)
    entries = []
    for _ in range(args.repeat):
        started = clock()
        smoothing_entry(labels, hits, labels, labels, settings, 19)
        entries.append(clock() - started)
    print(f"statistics of 1024x2048 pixels, seconds: {figures(entries)}")


def load_random(path: str) -> Config:
    """Config of a segmentor without weights, from a file or from MMSegmentation's own."""
    if not path.startswith("mmseg::"):
        return load_config(path)
    register_packages()
    with blame(f"cannot load config {path}"):
        config = get_config(path)
    config.model.pretrained = None
    config.model.backbone.init_cfg = None
    return config


if __name__ == "__main__":
    sys.exit(main())
