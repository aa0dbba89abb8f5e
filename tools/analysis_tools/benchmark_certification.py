"""Measure what certification costs: beside inference, beside a plain network, per pixel.

Nothing is loaded: weights are random, images are noise, and the logits that are certified are
synthetic (see ``synthetic_problem``), because the cost of a certificate depends on the margins.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from prettytable import PrettyTable
from torch import Tensor, nn

from mmseg_lipcert.certificates import image_entry
from mmseg_lipcert.certificates.image_problem import ImageProblem
from mmseg_lipcert.engine.loading import build_model
from mmseg_lipcert.evaluation.metrics import LipschitzCertificateMetric
from mmseg_lipcert.models.segmentors import LipEncoderDecoder, NativeLogits
from mmseg_lipcert.report import certificate_json, environment
from mmseg_lipcert.utils.cli import CommandLineError, check_output_file, load_config
from mmseg_lipcert.utils.failures import one_line_errors

DEFAULT_CONFIG = "configs/lip_unet/lip-unet_m_40e_cityscapes-512x1024.py"
# The constrained layers of a config, replaced by what they are without the constraint.
PLAIN_LAYERS = dict(conv_cfg=None, norm_cfg=None, upsample_cfg=dict(type="deconv"))
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default=root / DEFAULT_CONFIG, help="Lipschitz network")
    parser.add_argument("--size", nargs=2, type=int, default=(1024, 2048), metavar=("H", "W"))
    parser.add_argument("--repeat", type=int, default=5, help="measurements of each time")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu: CPU time of this process instead, for machines with other work (default: wall)",
    )
    parser.add_argument(
        "--megapixels",
        nargs="+",
        type=float,
        default=(0.25, 0.5, 1.0, 2.0),
        metavar="M",
        help="sizes of the maps whose cost is fitted by a line, at least two",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    # One size, measured in a process of its own and printed as JSON: see `measure_scaling`.
    parser.add_argument("--measure-entry", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--classes", type=int, default=19, help=argparse.SUPPRESS)
    args = parser.parse_args()
    for name in ("repeat", "threads"):
        if getattr(args, name) < 1:
            raise CommandLineError(f"--{name} must be at least 1, got {getattr(args, name)}")
    if min(args.size) < 32:
        raise CommandLineError(f"--size must be at least 32 32, got {args.size[0]} {args.size[1]}")
    if len(set(args.megapixels)) < 2 or min(args.megapixels) < 0.002:
        raise CommandLineError(
            f"--megapixels needs two different sizes of at least 0.002, got {args.megapixels}"
        )
    check_output_file(args.json, "--json")
    return args


def synthetic_problem(classes: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Logits (K, H, W) and labels (H, W) with the statistics of a trained 1-Lipschitz network.

    Smooth blobs of 64 pixels, classes of unequal frequency, and fine noise: flip costs with a
    median of about 0.025 and a hundredth of them below 0.0005, one pixel in ten at a border
    between predictions, three of four pixels right, the lowest 3% of the rows void. A small U-Net
    trained on generated street scenes has 0.03, 0.0007, one in ten, three of four and 3%.
    """
    generator = torch.Generator().manual_seed(0)

    def blobs(pixels: int, scale: float) -> Tensor:
        coarse = (classes, 2 + height // pixels, 2 + width // pixels)
        values = scale * torch.randn(coarse, generator=generator)
        return F.interpolate(values[None], (height, width), mode="bilinear")[0]

    logits = blobs(64, 0.09)
    logits += torch.linspace(0.15, -0.1, classes)[:, None, None]
    target = (logits + blobs(32, 0.035)).argmax(0)
    target[height - height * 3 // 100 :] = 255
    for plane in logits:
        plane += 0.004 * torch.randn(plane.shape, generator=generator)
    return logits, target


def seconds(work: Callable[[], Any], clock: str) -> float:
    """Time one call."""
    started = CLOCKS[clock]()
    work()
    return CLOCKS[clock]() - started


def spread(values: Sequence[float]) -> dict[str, float]:
    """Smallest, median and largest of some measurements."""
    return {"min": min(values), "median": float(np.median(values)), "max": max(values)}


def build_lipschitz_network(config: Config) -> LipEncoderDecoder:
    """Build the model of the config in evaluation mode, with random weights."""
    torch.manual_seed(0)
    model = build_model(config)
    if not isinstance(model, LipEncoderDecoder):
        raise CommandLineError(
            f"{config.filename}: a LipEncoderDecoder is needed, got {type(model).__name__}"
        )
    return model.eval()


def build_plain_network(config: Config) -> nn.Module:
    """Build the same network with plain convolutions and without normalization."""
    config = copy.deepcopy(config)
    for part in (config.model.backbone, config.model.decode_head):
        part.layers_cfg = {**(part.get("layers_cfg") or {}), **PLAIN_LAYERS}
    network = NativeLogits(build_model(config)).eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)


def require_same_layers(folded: nn.Module, plain: nn.Module) -> None:
    """Check that two networks have the same convolutions: a comparison of times needs it."""
    layers = [
        [
            (module.weight.shape, module.stride, module.padding, module.dilation, module.transposed)
            for module in network.modules()
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))
        ]
        for network in (folded, plain)
    ]
    if layers[0] != layers[1]:
        raise CommandLineError("the plain network has other convolutions than the folded one")


def measure_certifying(
    model: LipEncoderDecoder, size: tuple[int, int], repeat: int, clock: str
) -> dict[str, Any]:
    """Compare the forward pass of one image with the work of certifying it."""
    metric = LipschitzCertificateMetric()
    image = torch.rand(1, 3, *size)
    classes = model.num_classes
    found = model.network(image)[0]
    logits, target = synthetic_problem(classes, *found.shape[1:])
    logits = torch.empty_like(found).copy_(logits)  # in the memory layout of the network
    native_target = target
    target = F.interpolate(target[None, None].float(), size, mode="nearest")[0, 0].long()
    stride = -(-size[0] // logits.shape[1])

    def all_metrics() -> None:
        metric.calculate(logits, target, 1.0, size, stride)

    def accuracy_and_stability() -> None:
        # The part of the metric's work that these two need, in the same single pass.
        problem = ImageProblem(logits, native_target)
        budgets = np.square(metric.eps)
        problem.correct_pixels(budgets.max()).gain(budgets)
        problem.all_pixels(budgets.max()).gain(budgets)

    times: dict[str, list[float]] = {"forward": [], "certify": [], "accuracy_and_stability": []}
    for _ in range(repeat):
        times["forward"].append(seconds(lambda: model.network(image), clock))
        times["certify"].append(seconds(all_metrics, clock))
        times["accuracy_and_stability"].append(seconds(accuracy_and_stability, clock))
    forward = np.array(times["forward"])
    result: dict[str, Any] = {f"seconds_{name}": spread(values) for name, values in times.items()}
    for name in ("certify", "accuracy_and_stability"):
        result[f"{name}_over_forward"] = spread((np.array(times[name]) / forward).tolist())
    return {**result, "eps": list(metric.eps), "classes": classes}


def measure_folding(
    model: LipEncoderDecoder, plain: nn.Module, size: tuple[int, int], repeat: int, clock: str
) -> dict[str, Any]:
    """Compare the folded network with the plain one, in pairs whose order alternates."""
    folded = model.network
    require_same_layers(folded, plain)
    image = torch.rand(1, 3, *size)
    networks = {"folded": folded, "plain": plain}
    times: dict[str, list[float]] = {name: [] for name in networks}
    for network in networks.values():
        network(image)
    for number in range(repeat):
        for name in list(networks)[:: 1 if number % 2 == 0 else -1]:
            times[name].append(seconds(lambda network=networks[name]: network(image), clock))
    ratios = [a / b for a, b in zip(times["folded"], times["plain"], strict=True)]
    result = {f"seconds_{name}": spread(values) for name, values in times.items()}
    return {**result, "folded_over_plain": spread(ratios)}


def peak_memory() -> float | None:
    """Largest resident memory of this process so far, in MB; None where Linux's /proc is missing.

    Not ``getrusage``: its maximum is inherited from the process that started this one.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) * 1024 / 1e6


def measure_entry(megapixels: float, classes: int, repeat: int, clock: str) -> dict[str, Any]:
    """Time `image_entry` at one size, with all metrics, and read its peak extra memory."""
    height = round((megapixels * 1e6 / 2) ** 0.5)
    width = 2 * height
    metric = LipschitzCertificateMetric()
    # Warms up at a tiny size, so that first-use costs are neither time nor memory of the map.
    metric.calculate(*synthetic_problem(classes, 32, 64), 1.0, (32, 64))
    logits, target = synthetic_problem(classes, height, width)
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")  # the peak starts again from what is resident now
    before = peak_memory()

    def all_metrics() -> None:
        image_entry(logits, target, metric.eps, 1.0, thresholds=metric.thresholds)

    times = [seconds(all_metrics, clock) for _ in range(repeat)]
    extra = None if before is None else peak_memory() - before
    return {
        "megapixels": height * width / 1e6,
        "seconds": spread(times),
        "extra_megabytes": extra,
        "logits_megabytes": logits.numel() * logits.element_size() / 1e6,
    }


def measure_scaling(args: argparse.Namespace, classes: int) -> dict[str, Any]:
    """Measure `image_entry` at several sizes, each in its own process, and fit a line."""
    points = []
    for megapixels in sorted(set(args.megapixels)):
        command = [sys.executable, __file__, "--measure-entry", megapixels, "--classes", classes]
        command += ["--repeat", args.repeat, "--threads", args.threads]
        command += ["--clock", args.clock]
        finished = subprocess.run(
            list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True
        )
        points.append(json.loads(finished.stdout.splitlines()[-1]))
    x = np.array([point["megapixels"] for point in points])
    y = np.array([point["seconds"]["median"] for point in points])
    slope, intercept = np.polyfit(x, y, 1)
    residual = ((y - slope * x - intercept) ** 2).sum()
    return {
        "points": points,
        "seconds_per_megapixel": float(slope),
        "intercept_seconds": float(intercept),
        "r_squared": float(1 - residual / ((y - y.mean()) ** 2).sum()),
    }


def tables(result: dict[str, Any]) -> str:
    """Write the measurements as text."""
    times = PrettyTable(["measured", "min", "median", "max"], align="r")
    times.align["measured"] = "l"
    for part in ("certifying", "folding"):
        for name, value in result[part].items():
            if isinstance(value, dict):
                numbers = [f"{value[key]:.4g}" for key in ("min", "median", "max")]
                times.add_row([f"{part}: {name.replace('_', ' ')}", *numbers])
    scaling = result["scaling"]
    pixels = PrettyTable(
        ["megapixels", "seconds (median)", "peak extra MB", "MB of the logits"], align="r"
    )
    for point in scaling["points"]:
        extra = point["extra_megabytes"]
        pixels.add_row(
            [
                f"{point['megapixels']:.3f}",
                f"{point['seconds']['median']:.4g}",
                "not measured" if extra is None else f"{extra:.0f}",
                f"{point['logits_megabytes']:.0f}",
            ]
        )
    settings = result["settings"]
    size = settings["size"]
    return (
        f"{settings['config']} at {size[0]}x{size[1]}, {settings['classes']} classes, "
        f"{settings['repeat']} repeats, {settings['threads']} threads, {settings['clock']} time\n"
        f"{times.get_string()}\n\n"
        f"image_entry, all metrics, {len(result['certifying']['eps'])} eps\n"
        f"{pixels.get_string()}\n"
        f"fit: {scaling['seconds_per_megapixel']:.4g} s per megapixel, intercept "
        f"{scaling['intercept_seconds']:.4g} s, R^2 {scaling['r_squared']:.4f}"
    )


@one_line_errors
@torch.inference_mode()
def main() -> None:
    """Run the benchmark."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    if args.measure_entry is not None:
        entry = measure_entry(args.measure_entry, args.classes, args.repeat, args.clock)
        print(json.dumps(entry))
        return
    config = load_config(args.config)
    size = tuple(args.size)
    how = (size, args.repeat, args.clock)
    model = build_lipschitz_network(config)
    result = {
        "schema": 1,
        "settings": {
            "config": Path(args.config).name,
            "classes": model.num_classes,
            "size": size,
            "repeat": args.repeat,
            "threads": args.threads,
            "clock": args.clock,
        },
        "folding": measure_folding(model, build_plain_network(config), *how),
        "certifying": measure_certifying(model, *how),
        "scaling": measure_scaling(args, model.num_classes),
        "environment": environment(),
    }
    print(tables(result))
    if args.json is not None:
        args.json.write_text(certificate_json(result))


if __name__ == "__main__":
    sys.exit(main())
