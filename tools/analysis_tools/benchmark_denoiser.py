"""Time a denoiser on whole images, and how much memory it takes."""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from pathlib import Path

import torch
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from prettytable import PrettyTable

from mmseg_lipcert.utils.cli import load_definition
from mmseg_lipcert.utils.failures import blame, one_line_errors


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("denoiser", help="as in --denoiser: a .py config, a folder or a file")
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), help="height and width")
    parser.add_argument("--sigma", type=float, default=0.25, help="noise of the images in [0, 1]")
    parser.add_argument("--draws", type=int, default=1, help="images at once")
    parser.add_argument("--repeat", type=int, default=3, help="measurements")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    return parser.parse_args()


@one_line_errors
def main() -> None:
    """Measure seconds of the clock and of all cores, per image, and the peak of the memory."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    definition = dict(type="DiffusersDenoiser", path=args.denoiser)
    if Path(args.denoiser).suffix == ".py":
        definition = load_definition(args.denoiser, "denoiser")
    with DefaultScope.overwrite_default_scope("mmseg"):
        with blame(f"cannot build {args.denoiser}"):
            denoiser = MODELS.build(definition).eval()
    loaded = peak_memory()
    image = torch.rand(args.draws, 3, *args.size)
    noisy = image + args.sigma * torch.randn_like(image)
    elapsed, busy = [], []
    with torch.inference_mode():
        for _ in range(args.repeat):
            clock, cores = time.perf_counter(), time.process_time()
            denoiser(noisy, args.sigma)
            elapsed.append((time.perf_counter() - clock) / args.draws)
            busy.append((time.process_time() - cores) / args.draws)
    table = PrettyTable(["per image", "median", "min", "max"], align="r")
    table.align["per image"] = "l"
    for title, values in (("seconds", elapsed), ("seconds of all cores", busy)):
        figures = (statistics.median(values), min(values), max(values))
        table.add_row([title, *(f"{figure:.3f}" for figure in figures)])
    parameters = sum(parameter.numel() for parameter in denoiser.parameters())
    print(f"{parameters:,} parameters, {args.size[0]}x{args.size[1]}, {args.draws} at once,")
    print(f"{args.threads} threads, {args.repeat} measurements\n{table}")
    print(f"peak memory {peak_memory():.2f} GiB, after loading {loaded:.2f} GiB")


def peak_memory() -> float:
    """Largest memory of this process so far, in GiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    sys.exit(main())
