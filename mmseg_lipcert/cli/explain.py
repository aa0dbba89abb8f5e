"""Explain predicted objects: what would have to be different, and how far that is at least."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from prettytable import PrettyTable
from torch import nn

from ..apis import CertifiedSegInferencer
from ..apis.explanation import change_objective, slope_of
from ..attacks import SegmentorLogits
from ..attacks.line_search import line_search
from ..certificates import RegionQuery
from ..certificates.regions import region_numbers
from ..engine.image_list import ImageList
from ..engine.loading import build_dataset, build_model, fill_model
from ..report import certificate_json
from ..utils.cli import (
    CommandLineError,
    add_cfg_options,
    check_checkpoint,
    check_device,
    check_output_folder,
    load_config,
)
from ..utils.failures import one_line_errors, work_begins
from ..utils.rounding import significant


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file of a Lipschitz segmentor")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument(
        "--plain",
        nargs=2,
        metavar=("CONFIG", "CHECKPOINT"),
        help="another segmentor of the same classes: how far its answers are along its gradient",
    )
    parser.add_argument(
        "--objects", nargs="+", default=[], metavar="CLASS", help="classes of the objects (all)"
    )
    parser.add_argument(
        "--largest", type=int, default=2, metavar="K", help="objects of each image (2)"
    )
    parser.add_argument(
        "--min-pixels",
        type=int,
        default=RegionQuery.min_pixels,
        metavar="N",
        help="smaller objects are left out (50)",
    )
    parser.add_argument(
        "--share", type=float, default=0.5, help="share of an object's pixels to be changed (0.5)"
    )
    parser.add_argument("--to", metavar="CLASS", help="class that they are to become (any other)")
    parser.add_argument(
        "--steps", type=int, default=0, help="gradient steps in search of a nearer answer (0)"
    )
    parser.add_argument("--every", type=int, default=1, metavar="K", help="take every K-th image")
    parser.add_argument("--limit", type=int, metavar="N", help="take at most N images")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument(
        "--device", help="where to compute (default: cuda where there is one, else cpu)"
    )
    add_cfg_options(parser)
    args = parser.parse_args()
    for name in ("largest", "min_pixels", "every", "limit"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise CommandLineError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    check_output_folder(args.out, "--out")
    args.checkpoint = check_checkpoint(args.checkpoint)
    return args


def plain_segmentor(config: str, checkpoint: str, device: str) -> nn.Module:
    """A segmentor of any kind, filled and ready for gradients."""
    model = build_model(load_config(config))
    file = check_checkpoint(checkpoint)
    if file is None:
        raise CommandLineError(f"--plain {config} needs a checkpoint, got {checkpoint}")
    fill_model(model, file)
    return model.to(device).eval().requires_grad_(False)


def line_norms(
    logits_of: SegmentorLogits,
    images: torch.Tensor,
    where: np.ndarray,
    to: int | None,
    share: float,
) -> tuple[float, float]:
    """How far an answer changes along the gradient, and along its signs (FGSM)."""
    labels = logits_of.labels(images)[0].cpu().numpy()
    objective = change_objective(where, labels, to, share, images.device)
    slope = slope_of(logits_of, images, objective)
    gradient, sign = (
        line_search(logits_of, images, objective, -step)[1].item() for step in (slope, slope.sign())
    )
    return gradient, sign


def objects_of(
    labels: np.ndarray, classes: Sequence[int], min_pixels: int, largest: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Class and pixels of the largest predicted objects."""
    numbers, owners = region_numbers(labels, classes, min_pixels)
    sizes = np.bincount(numbers.ravel(), minlength=len(owners) + 1)[1:]
    for index in np.argsort(-sizes, kind="stable")[:largest].tolist():
        yield owners[index], numbers == index + 1


def explain_images(args: argparse.Namespace, config: Config, device: str) -> list[dict[str, Any]]:
    """One row per object; its picture lies in the folder of the results."""
    dataset = build_dataset(config)
    names, palette = dataset.metainfo["classes"], dataset.metainfo["palette"]
    for name in [*args.objects, *([args.to] if args.to else [])]:
        if name not in names:
            raise CommandLineError(f"{name!r} is no class of the dataset: {', '.join(names)}")
    wanted = [names.index(name) for name in args.objects] or list(range(len(names)))
    to = names.index(args.to) if args.to else None
    images = ImageList(dataset, every=args.every, limit=args.limit)
    explain = CertifiedSegInferencer(config, args.checkpoint, "lipschitz", device=device)
    plain = plain_segmentor(args.plain[0], args.plain[1], device) if args.plain else None
    work_begins()
    rows: list[dict[str, Any]] = []
    for name in images.names:
        data, path = images.read(name), images.info(name)["img_path"]
        pixels = data["inputs"][None].to(device).float() / 255
        own = SegmentorLogits(explain.model, [data["data_samples"]])
        other = SegmentorLogits(plain, [data["data_samples"]]) if plain else None
        labels = own.labels(pixels)[0].cpu().numpy()
        objects = objects_of(labels, wanted, args.min_pixels, args.largest)
        for number, (c, where) in enumerate(objects):
            if c == to:
                continue
            found = explain.explain(
                path, where, to=to, share=args.share, steps=args.steps, name=name
            )
            found.draw(args.out / f"{name}_{number}_{names[c]}.png", palette)
            row = {
                "image": name,
                "class": names[c],
                "pixels": int(where.sum()),
                "radius": found.radius,
                "norm": found.norm,
                "tightness": found.tightness,
                "sign_norm": line_norms(own, pixels, where, to, args.share)[1],
            }
            if other is not None:
                norms = line_norms(other, pixels, where, to, args.share)
                row["plain_norm"], row["plain_sign_norm"] = norms
            rows.append(row)
            print(
                f"{name}: {names[c]} of {row['pixels']} pixels: changed at norm {found.norm:.4g}, "
                f"not below {significant(found.radius)}"
            )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Medians over the objects."""
    kinds = {
        "certified radius": "radius",
        "counterfactual along the gradient": "norm",
        "the same / certified radius": "tightness",
        "along the signs of the gradient": "sign_norm",
        "other network, along its gradient": "plain_norm",
        "other network, along the signs": "plain_sign_norm",
    }
    result = PrettyTable(["median norm of", f"{len(rows)} objects"], align="r")
    result.align["median norm of"] = "l"
    for title, key in kinds.items():
        if key in rows[0]:
            result.add_row([title, f"{np.median([row[key] for row in rows]):.4g}"])
    return result.get_string()


@one_line_errors
def main() -> int:
    """Run the tool."""
    args = parse_args()
    config = load_config(args.config, args.cfg_options)
    device = check_device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with DefaultScope.overwrite_default_scope(config.get("default_scope", "mmseg")):
        rows = explain_images(args, config, device)
    if not rows:
        raise CommandLineError(
            f"no object of {', '.join(args.objects) or 'any class'} with "
            f"{args.min_pixels} pixels is predicted in these images"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "explanations.json").write_text(certificate_json({"objects": rows}))
    print(table(rows))
    return 0
