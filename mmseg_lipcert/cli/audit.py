"""Audit a segmentor: the Lipschitz bound of its network, layer by layer, from its weights."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..datasets.transforms import LoadCheckedImage
from ..engine.loading import build_model, fill_model
from ..lipschitz import AuditError, LipschitzAudit, audit, interpolation_norm
from ..models.segmentors import (
    ForeignSegmentor,
    LipEncoderDecoder,
    NativeLogits,
    preprocessor_norm,
)
from ..report import certificate_json, environment
from ..utils.cli import (
    CommandLineError,
    add_cfg_options,
    check_checkpoint,
    check_output_file,
    load_config,
)
from ..utils.failures import one_line_errors

DEFAULT_SIZE = (256, 512)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Exit status: 0 bound found, 1 no bound, 2 wrong command line."
    )
    parser.add_argument("config", help="config file of any encoder-decoder")
    parser.add_argument("checkpoint", nargs="?", help="checkpoint; without it: random weights")
    parser.add_argument(
        "--size",
        nargs=2,
        type=int,
        metavar=("H", "W"),
        help="size of the images; by default that of --images, else crop_size of the config, "
        f"else {DEFAULT_SIZE[0]} {DEFAULT_SIZE[1]}",
    )
    points = parser.add_mutually_exclusive_group()
    points.add_argument(
        "--samples",
        type=int,
        default=1,
        metavar="N",
        help="random images at which the lower bound is measured; 0: none (default: 1)",
    )
    points.add_argument("--images", nargs="+", metavar="FILE", help="measure at these images")
    parser.add_argument(
        "--steps",
        type=int,
        default=5,
        help="effort of the measurement: steps per power iteration and ascent (default: 5)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result here")
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.size and min(args.size) < 1:
        raise CommandLineError(f"--size must be positive, got {args.size[0]} {args.size[1]}")
    if args.samples < 0:
        raise CommandLineError(f"--samples must be at least 0, got {args.samples}")
    if args.steps < 1:
        raise CommandLineError(f"--steps must be at least 1, got {args.steps}")
    args.checkpoint = check_checkpoint(args.checkpoint)
    check_output_file(args.json, "--json")
    return args


def choose_images(args: argparse.Namespace, config: Config) -> list[Tensor]:
    """Return at least one image (3, H, W), uint8 BGR, all of the size that is audited."""
    if args.images is None:
        size = args.size or config.get("crop_size") or DEFAULT_SIZE
        size = (size, size) if isinstance(size, int) else tuple(size)
        generator = torch.Generator().manual_seed(0)
        return [
            torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
            for _ in range(max(args.samples, 1))
        ]
    load = LoadCheckedImage()
    images: list[Tensor] = []
    for path in args.images:
        try:
            pixels = load({"img_path": path})["img"]
        except (OSError, ValueError) as error:
            raise CommandLineError(str(error)) from error
        images.append(torch.from_numpy(pixels).permute(2, 0, 1))
        wanted = tuple(args.size or images[0].shape[1:])
        if pixels.shape[:2] != wanted:
            raise CommandLineError(
                f"{path} has {pixels.shape[0]}x{pixels.shape[1]} pixels, the audit is for "
                f"{wanted[0]}x{wanted[1]}: a bound holds for one size, audit them one by one"
            )
    return images


def preprocess(model: EncoderDecoder, images: list[Tensor]) -> Tensor:
    """Turn images into the network's input (N, 3, H, W), as in a test."""
    shapes = dict(ori_shape=tuple(images[0].shape[1:]), img_shape=tuple(images[0].shape[1:]))
    samples = [SegDataSample(metainfo=shapes) for _ in images]
    return model.data_preprocessor(dict(inputs=images, data_samples=samples), False)["inputs"]


def audited_network(model: nn.Module) -> tuple[nn.Module, str]:
    """Return the map that is audited, from preprocessed images, and what it is called.

    Raises:
        AuditError: If the model is not an encoder-decoder with one decode head.
    """
    if isinstance(model, LipEncoderDecoder):
        end = "the features of its classifier" if model.has_free_classifier else "its native logits"
        return model.network, f"folded network up to {end}"
    if isinstance(model, ForeignSegmentor):
        raise AuditError("its network is a file, whose operations the audit cannot see")
    if not isinstance(model, EncoderDecoder) or isinstance(model.decode_head, nn.ModuleList):
        raise AuditError(
            f"{type(model).__name__} is not an EncoderDecoder with one decode head: "
            "the map to its logits is not known"
        )
    return NativeLogits(model).eval(), "network up to its native logits"


def postprocessing(model: EncoderDecoder, native: Sequence[int], size: Sequence[int]) -> str:
    """Say what happens to the logits behind the audited map."""
    if isinstance(model, LipEncoderDecoder):
        return "none: logits stay native, labels are repeated"
    factor = interpolation_norm(native, size, "bilinear", model.align_corners)
    text = (
        f"not included: the bound is for native logits, before the bilinear resize from "
        f"{native[0]}x{native[1]} to {size[0]}x{size[1]}, whose norm is {factor:.6g}"
    )
    if (model.test_cfg or {}).get("mode") == "slide":
        text += ", and for one window, before overlapping windows are averaged"
    return text


def audit_model(model: nn.Module, args: argparse.Namespace, config: Config) -> dict[str, Any]:
    """Audit the model; return the result, with the :class:`LipschitzAudit` under ``'audit'``.

    Raises:
        AuditError: If there is no bound.
        ValueError: If a weight is not finite or a standard deviation not positive.
    """
    network, name = audited_network(model)
    preprocessing = preprocessor_norm(model.data_preprocessor)
    inputs = preprocess(model, choose_images(args, config))
    samples = inputs if args.images or args.samples else None
    size = tuple(inputs.shape[2:])
    started = time.perf_counter()
    if isinstance(model, LipEncoderDecoder):
        result = model.lipschitz_audit(size, samples, args.steps)
    else:
        result = audit(network, (1, *inputs.shape[1:]), samples, args.steps)
    seconds = time.perf_counter() - started
    with torch.no_grad():
        native = tuple(network(inputs[:1]).shape[2:])
    return {
        "audit": result,
        "map": name,
        "input_size": size,
        "logit_size": native,
        "preprocessing": preprocessing,
        "network": result.upper,
        "bound": preprocessing * result.upper,
        "network_lower_bound": result.lower,
        "gap": result.gap,
        "samples": 0 if samples is None else len(samples),
        "sample_kind": None if samples is None else "given" if args.images else "random",
        "steps": args.steps,
        "postprocessing": postprocessing(model, native, size),
        "seconds": seconds,
    }


def summary(result: dict[str, Any], weights: str) -> str:
    """Write the layers, the factors and their product as text."""
    lower = "not measured"
    if result["network_lower_bound"] is not None:
        lower = (
            f"{result['network_lower_bound']:.8g} at {result['samples']} {result['sample_kind']} "
            f"image(s), {result['steps']} steps; network bound / lower bound = {result['gap']:.4g}"
        )
    lines = {
        "weights": weights,
        "audited map": result["map"],
        "network input": "x".join(map(str, result["input_size"])),
        "preprocessing factor": f"{result['preprocessing']:.8g} (from [0, 1] images)",
        "network bound": f"{result['network']:.8g}",
        "together": f"{result['bound']:.8g} (from [0, 1] images, joint l2 norm)",
        "network lower bound": lower,
        "postprocessing": result["postprocessing"],
        "seconds": f"{result['seconds']:.1f}",
    }
    audited: LipschitzAudit = result["audit"]
    return "\n".join([audited.table(), "", *(f"{k + ':':<22}{v}" for k, v in lines.items())])


@one_line_errors
def main() -> int:
    """Run the tool; return 0 when there is a bound, 1 when there is none."""
    args = parse_args()
    config = load_config(args.config, args.cfg_options)
    model = build_model(config)
    if args.checkpoint is not None:
        fill_model(model, args.checkpoint)
    model.eval()
    weights = f"checkpoint {args.checkpoint}"
    if args.checkpoint is None:
        file = isinstance(model, ForeignSegmentor)
        weights = model.path if file else "random: no checkpoint was given"
    report: dict[str, Any] = {
        "schema": 1,
        "config": Path(args.config).name,
        "checkpoint": None if args.checkpoint is None else Path(args.checkpoint).name,
        "model": type(model).__name__,
        "error": None,
        "bound": None,
    }
    try:
        result = audit_model(model, args, config)
        print(summary(result, weights))
        report.update(result, layers=result["audit"].to_dict()["layers"])
        del report["audit"]
    except (AuditError, ValueError) as error:
        report["error"] = " ".join(str(error).split())
        print(f"no bound ({weights}): {report['error']}", file=sys.stderr)
    if args.json is not None:
        args.json.write_text(certificate_json({**report, "environment": environment()}))
    return 0 if report["error"] is None else 1
