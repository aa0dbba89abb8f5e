"""Attack a segmentor: what perturbations of a given norm really do, beside what is certified."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from torch import nn

from ..attacks import (
    ATTACKS,
    DEFAULT_ATTACKS,
    AttackRun,
    AttackSettings,
    AttackStore,
    attack_summary,
)
from ..certificates import RegionQuery
from ..engine import check_dataset
from ..engine.checks import file_digest, use_full_precision
from ..engine.image_list import ImageList
from ..engine.loading import build_dataset, build_model, fill_model
from ..models.segmentors import LipDetector
from ..report import certificate_json
from ..report.attack_report import build_attack_report
from ..report.attack_report_tables import (
    attack_class_table,
    attack_table,
    minimal_table,
    region_table,
)
from ..utils.cli import (
    CommandLineError,
    add_cfg_options,
    check_checkpoint,
    check_device,
    check_output_folder,
    load_config,
)
from ..utils.failures import one_line_errors, work_begins
from ..visualization import save_attack_curve, save_attack_scatter


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Exit status: 0 no certificate was refuted, 1 one was (see counterexamples), "
        "2 wrong command line.",
    )
    parser.add_argument("config", help="config file of any segmentor")
    parser.add_argument("checkpoint", help="checkpoint file; none for a network in a file")
    parser.add_argument(
        "--eps", nargs="+", type=float, required=True, help="l2 norms, images in [0, 1]"
    )
    parser.add_argument(
        "--attack",
        nargs="+",
        choices=sorted(ATTACKS),
        default=list(DEFAULT_ATTACKS),
        metavar="NAME",
        help=f"attacks, of {', '.join(ATTACKS)}; the worst of them counts, for each image and "
        f"metric (default: {', '.join(DEFAULT_ATTACKS)})",
    )
    parser.add_argument(
        "--steps", type=int, default=40, help="gradient steps of each attack (default: 40)"
    )
    parser.add_argument(
        "--threshold",
        nargs="+",
        type=float,
        default=[],
        metavar="ACCURACY",
        help="also look for the shortest perturbation that pushes pixel accuracy below this",
    )
    parser.add_argument(
        "--vanish",
        type=int,
        default=0,
        metavar="K",
        help="also look for the shortest perturbations that erase each image's K largest objects",
    )
    parser.add_argument(
        "--vanish-share",
        type=float,
        default=RegionQuery.vanish_share,
        metavar="SHARE",
        help="share of its pixels whose loss makes an object vanish (0.9)",
    )
    parser.add_argument(
        "--objects", nargs="+", default=[], metavar="CLASS", help="classes of these objects (all)"
    )
    parser.add_argument(
        "--fabricate",
        nargs="+",
        default=[],
        metavar="CLASS",
        help="also look for the shortest perturbation that invents an object of each of these "
        "classes",
    )
    parser.add_argument(
        "--fabricate-pixels", type=int, default=200, metavar="N", help="its pixels (200)"
    )
    parser.add_argument(
        "--clip",
        action="store_true",
        help="perturbed images stay in [0, 1]; by default they may leave it, as a certificate says",
    )
    parser.add_argument("--every", type=int, default=1, metavar="K", help="take every K-th image")
    parser.add_argument("--limit", type=int, metavar="N", help="take at most N images")
    parser.add_argument(
        "--batch-size", type=int, default=1, help="images attacked together (default: 1)"
    )
    parser.add_argument("--out", type=Path, help="folder of the results (default: in --work-dir)")
    parser.add_argument("--resume", action="store_true", help="continue the attack in --out")
    parser.add_argument("--seed", type=int, default=0, help="of the noise for smoothed models")
    parser.add_argument(
        "--draws",
        type=int,
        default=8,
        help="smoothed models: draws of noise that a gradient is averaged over (default: 8)",
    )
    parser.add_argument(
        "--votes",
        type=int,
        default=32,
        help="smoothed models: draws of noise that vote for a prediction (default: 32)",
    )
    parser.add_argument(
        "--device", help="where to compute (default: cuda where there is one, else cpu)"
    )
    parser.add_argument("--work-dir", help="folder for --out by default")
    add_cfg_options(parser)
    args = parser.parse_args()
    for name in ("every", "limit", "batch_size"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise CommandLineError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    check_output_folder(args.out, "--out")
    args.checkpoint = check_checkpoint(args.checkpoint)
    return args


def class_index(name: str, classes: Sequence[str], flag: str) -> int:
    """Index of a class by its name."""
    if name not in classes:
        raise CommandLineError(
            f"{flag}: {name!r} is no class of the dataset, which has {', '.join(classes)}"
        )
    return list(classes).index(name)


def read_settings(args: argparse.Namespace, classes: Sequence[str]) -> AttackSettings:
    """What the command line says about the attacks."""
    return AttackSettings(
        eps=args.eps,
        attacks=args.attack,
        steps=args.steps,
        thresholds=args.threshold,
        vanish=args.vanish,
        vanish_share=args.vanish_share,
        vanish_classes=[class_index(name, classes, "--objects") for name in args.objects],
        fabricate=[class_index(name, classes, "--fabricate") for name in args.fabricate],
        fabricate_pixels=args.fabricate_pixels,
        clip=args.clip,
        seed=args.seed,
        draws=args.draws,
        votes=args.votes,
    )


def filled_model(config: Config, checkpoint: str | None, device: str) -> tuple[nn.Module, str]:
    """Build the model of a config, filled by a checkpoint; also give the digest of its weights."""
    model = build_model(config)
    base = base_segmentor(model)
    if isinstance(base, LipDetector):
        raise CommandLineError(
            "a LipDetector finds boxes, no labels: use lipcert detect with --attack-steps"
        )
    digest = file_digest(base)
    if (checkpoint is None) != (digest is not None):
        raise CommandLineError(
            f"a {type(base).__name__} needs "
            + ("a checkpoint, not none" if digest is None else f"none instead of {checkpoint}")
        )
    if digest is None:
        digest = fill_model(base, checkpoint)
    elif not base.differentiable:
        raise CommandLineError(
            f"attacks follow gradients, and {Path(base.path).name} gives none: attack the network "
            "that it was exported from"
        )
    return model.to(device).eval().requires_grad_(False), digest


def is_smoothed(model: nn.Module) -> bool:
    """Whether a model is a segmentor under noise, around a ``module`` without."""
    return hasattr(model, "sigma") and hasattr(model, "module")


def base_segmentor(model: nn.Module) -> nn.Module:
    """The segmentor that gradients go through."""
    return model.module if is_smoothed(model) else model


def check_smoothed(model: nn.Module) -> None:
    """Refuse smoothed models whose map between the noise and the segmentor has no gradient here."""
    for name in ("denoiser", "scale"):
        if getattr(model, name, None) is not None:
            raise CommandLineError(
                f"the model has a {name} between its noise and its segmentor; attacks only see a "
                f"segmentor under noise: remove it with --cfg-options model.{name}=None"
            )


def batches(images: ImageList, size: int) -> Iterator[list[dict[str, Any]]]:
    """Read images in order; those of a batch follow each other and have one size."""

    def shapes(data: dict[str, Any]) -> tuple:
        meta = data["data_samples"].metainfo
        return tuple(meta["img_shape"]), tuple(meta["ori_shape"])

    for _, group in itertools.groupby(map(images.read, images.names), key=shapes):
        while batch := list(itertools.islice(group, size)):
            yield batch


def attack_images(run: AttackRun, images: ImageList, batch_size: int, store: AttackStore) -> None:
    """Attack the images that are left, and record each as soon as it is done."""
    logger = MMLogger.get_current_instance()
    done, begun = 0, time.perf_counter()
    for batch in batches(images, batch_size):
        started = time.perf_counter()
        results = run.attack(
            [data["inputs"] for data in batch], [data["data_samples"] for data in batch]
        )
        seconds = (time.perf_counter() - started) / len(batch)
        for line, maps, counterexamples in results:
            line["seconds"] = seconds
            saved = iter(
                store.save_counterexample(line["image"], number, case)
                for number, case in enumerate(counterexamples)
            )
            for violation in line["violations"]:
                violation["file"] = next(saved) if violation["confirmed"] else None
            store.add(line, maps)
            report_violations(line)
        done += len(batch)
        left = (time.perf_counter() - begun) / done * (len(images) - done)
        valid = max(line["valid"], 1)
        fewest = min(c["correct"] for found in line["attacks"] for c in found)
        logger.info(
            f"{done}/{len(images)} {line['image']}: pixel accuracy "
            f"{100 * line['clean']['correct'] / valid:.1f}% -> {100 * fewest / valid:.1f}% at eps "
            f"{line['eps'][-1]:g}; {seconds:.0f} s per image, {left / 60:.0f} min left"
        )


def report_violations(line: dict[str, Any]) -> None:
    """Say at once when a certificate is refuted, or nearly."""
    logger = MMLogger.get_current_instance()
    for violation in line["violations"]:
        what = (
            f"{line['image']}: {violation['attack']} with norm {violation['norm']:.6g} pushes "
            f"{', '.join(violation['metrics'])} below the certified value"
        )
        if violation["confirmed"]:
            logger.error(f"CERTIFICATE REFUTED, also in float64. {what}; saved {violation['file']}")
        else:
            logger.warning(f"{what} in float32, not in float64: rounding")


def finish(
    config: Config,
    args: argparse.Namespace,
    settings: AttackSettings,
    model: nn.Module,
    digest: str,
    classes: Sequence[str],
    lines: Sequence[dict[str, Any]],
    store: AttackStore,
) -> dict[str, Any]:
    """Write the report, its tables and pictures."""
    base = base_segmentor(model)
    smoothing = None
    if is_smoothed(model):
        smoothing = dict(sigma=model.sigma, draws=settings.draws, votes=settings.votes)
    report = build_attack_report(
        attack_summary(lines),
        lines,
        {
            **{key: getattr(settings, key) for key in ("attacks", "steps", "clip", "seed")},
            "smoothing": smoothing,
        },
        classes,
        {
            "type": type(base).__name__,
            "config": Path(config.filename).name,
            "checkpoint": Path(args.checkpoint or "none").name,
            "weights_sha256": digest,
        },
    )
    path = store.write("attack.json", certificate_json(report))
    save_attack_curve(store.folder / "curve.png", report)
    save_attack_scatter(store.folder / "scatter.png", report)
    logger = MMLogger.get_current_instance()
    pair = "attacked / certified" if report["results"][0]["certified"] else "attacked"
    logger.info(f"Per class, in percent ({pair})\n" + attack_class_table(report))
    logger.info("Dataset, in percent\n" + attack_table(report))
    if report["minimal"]:
        logger.info("Shortest perturbations\n" + minimal_table(report))
    if report["regions"]:
        logger.info("Shortest perturbations against regions\n" + region_table(report))
    logger.info(f"Result written to {path}, pictures to curve.png and scatter.png beside it")
    return report


@one_line_errors
def main() -> int:
    """Run the tool; the exit status is 1 if a certificate was refuted."""
    args = parse_args()
    config = load_config(args.config, args.cfg_options, args.work_dir)
    device = check_device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    use_full_precision()
    store = AttackStore(args.out or Path(config.work_dir) / "attack")
    with DefaultScope.overwrite_default_scope(config.get("default_scope", "mmseg")):
        dataset = build_dataset(config)
        classes = dataset.metainfo["classes"]
        settings = read_settings(args, classes)
        model, digest = filled_model(config, args.checkpoint, device)
        base = base_segmentor(model)
        if is_smoothed(model):
            check_smoothed(model)
        images = ImageList(dataset, every=args.every, limit=args.limit)
        sigma = model.sigma if is_smoothed(model) else None
        record = dict(asdict(settings), weights=digest, sigma=sigma)
        pipeline = config.test_dataloader.dataset.get("pipeline")
        for name, part in dict(model=config.model, pipeline=pipeline).items():
            record[name] = hashlib.sha256(str(part).encode()).hexdigest()
        finished = store.open(record, args.resume)
        left = images.without(finished)
        if len(left):
            check_dataset(left, len(classes), dataset.ignore_index, labeled=not finished)
        store.begin(record)
        work_begins()
        run = AttackRun(base, settings, len(classes), dataset.ignore_index, sigma)
        attack_images(run, left, args.batch_size, store)
    lines = [line for name, line in store.finished().items() if name in images.names]
    report = finish(config, args, settings, model, digest, classes, lines, store)
    return int(any(violation["confirmed"] for violation in report["violations"]))
