"""Predict certified accuracy and cost of smoothing for a choice of settings, from a few draws."""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from prettytable import PrettyTable

from ..apis import CertifiedResult, CertifiedSegInferencer
from ..certificates import SmoothingSettings
from ..certificates.smoothing.planning import predict
from ..utils.cli import CommandLineError, check_checkpoint, load_config, load_definition
from ..utils.failures import one_line_errors, work_begins

# Draws that choose the classes: a class with a probability of 0.94, about the least that is
# certified, is chosen by five draws in 99.8% of the cases.
_N0 = 5
# What lets the pilot run with any number of draws; nothing is claimed from it.
_PILOT = dict(alpha=0.5, tau=0.5, correction="metric", n0=_N0)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("config", help="config of the segmentor")
    parser.add_argument("checkpoint", help="its weights; none for a network in a file")
    parser.add_argument("--sigma", nargs="+", type=float, default=[0.25])
    parser.add_argument("--tau", nargs="+", type=float, default=[0.75])
    parser.add_argument("--n", nargs="+", type=int, default=[50, 75, 100, 150, 300])
    parser.add_argument(
        "--correction",
        nargs="+",
        default=["holm", "metric"],
        choices=("holm", "bonferroni", "metric"),
    )
    parser.add_argument("--alpha", type=float, default=0.001)
    parser.add_argument("--denoiser", help="as of test.py --certify denoise")
    parser.add_argument("--images", type=int, default=3, help="images that are looked at")
    parser.add_argument("--draws", type=int, default=40, help="draws of each, at least 12")
    parser.add_argument("--split", choices=("val", "train"), help="images of which dataset")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def pilot_images(config: Config, split: str | None, count: int) -> list[tuple[str, str]]:
    """Files of images and labels that are not those of the test dataset, evenly spread.

    Raises:
        CommandLineError: If there are none.
    """
    test = {image for image, _ in files_of(config.test_dataloader.dataset)}
    for name in [split] if split else ["val", "train"]:
        loader = config.get(f"{name}_dataloader")
        found = files_of(loader.dataset) if loader else []
        found = [files for files in found if files[0] not in test]
        if found:
            return found[:: max(1, len(found) // count)][:count]
    raise CommandLineError(
        f"no {split or 'val or train'} dataset of {config.filename} has images besides those of "
        "the test dataset: what is planned with must not be certified"
    )


def files_of(dataset: dict) -> list[tuple[str, str]]:
    """Files of images and labels of a dataset."""
    with DefaultScope.overwrite_default_scope("mmseg"):
        built: BaseSegDataset = DATASETS.build(dict(dataset))
    infos = [built.get_data_info(number) for number in range(len(built))]
    return [(info["img_path"], info["seg_map_path"]) for info in infos]


def histograms(result: CertifiedResult, draws: int) -> list[np.ndarray]:
    """Hits of pixels with their label, with another one, and without label."""
    selected, hits, target = result.maps["selected"], result.maps["hits"], result.target
    labeled = target != 255
    kinds = (labeled & (selected == target), labeled & (selected != target), ~labeled)
    return [np.bincount(hits[kind], minlength=draws + 1) for kind in kinds]


def rows_of(
    sigma: float, results: Sequence[CertifiedResult], args: argparse.Namespace
) -> list[list[str]]:
    """A row of the table for each choice of settings."""
    drawn = [histograms(result, args.draws) for result in results]
    passes = [
        result.sample.smoothing["seconds_forward"] / result.sample.smoothing["forward_passes"]
        for result in results
    ]
    seconds, rows = statistics.median(passes), []
    for correction, tau, n in itertools.product(args.correction, args.tau, args.n):
        settings = SmoothingSettings(sigma, _N0, n, args.alpha, (tau,), correction)
        settings = start_of_plateau(settings, max(sum(map(np.sum, one)) for one in drawn))
        found = [predict(*one, settings)[0] for one in drawn]
        rows.append(
            [
                f"{sigma:g}",
                f"{tau:g}",
                f"{settings.radii[0]:.3f}",
                correction,
                str(settings.n),
                f"{100 * statistics.mean(one.accuracy for one in found):.1f}",
                f"{100 * statistics.mean(one.certified for one in found):.1f}",
                f"{seconds * (_N0 + settings.n + 1):.1f}",
            ]
        )
    return [row for number, row in enumerate(rows) if row not in rows[:number]]


def start_of_plateau(settings: SmoothingSettings, pixels: int) -> SmoothingSettings:
    """The same settings with as few draws as allow as many misses."""
    n = settings.plateau_start(pixels)
    return SmoothingSettings(
        settings.sigma, settings.n0, n, settings.alpha, settings.taus, settings.correction
    )


@one_line_errors
def main() -> None:
    """Draw a few times, predict, and print a table."""
    args = parse_args()
    checkpoint = check_checkpoint(args.checkpoint)
    config = load_config(args.config)
    images = pilot_images(config, args.split, args.images)
    denoiser = args.denoiser
    if denoiser is not None and Path(denoiser).suffix == ".py":
        denoiser = load_definition(denoiser, "denoiser")
    table = PrettyTable(
        ["sigma", "tau", "radius", "correction", "n", "accuracy", "certified", "s / image"],
        align="r",
    )
    for sigma in args.sigma:
        certify = CertifiedSegInferencer(
            config,
            checkpoint,
            "denoise" if denoiser else "smoothing",
            sigma=sigma,
            n=args.draws,
            seed=args.seed,
            denoiser=denoiser,
            **_PILOT,
        )
        work_begins()
        results = [certify(image, target=labels) for image, labels in images]
        table.add_rows(rows_of(sigma, results, args))
    print(
        f"Predicted, in percent, from {args.draws} draws of {len(images)} images that are not "
        f"certified; --n0 {_N0}, alpha {args.alpha:g}. No guarantee, and a few images may be "
        "unlike the others.\n"
        f"{table}\n"
        "Looked at: " + ", ".join(image for image, _ in images)
    )
