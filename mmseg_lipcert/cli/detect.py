"""Certify which objects a Lipschitz detector always finds (experimental)."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from prettytable import PrettyTable

from ..attacks import Ball, SegmentorLogits, pgd
from ..attacks.objectives import DetectionObjective
from ..certificates.boxes import label_boxes
from ..certificates.detection import DenseDetector
from ..certificates.validation import check_eps, check_share
from ..engine.certifiers import LipschitzCertifier
from ..engine.image_list import ImageList
from ..engine.loading import build_dataset, build_model, fill_model
from ..evaluation.metrics import is_resized
from ..models.segmentors import LipDetector
from ..report import certificate_json, environment
from ..utils.cli import (
    CommandLineError,
    add_cfg_options,
    check_checkpoint,
    check_device,
    check_output_folder,
    load_config,
)
from ..utils.failures import one_line_errors, work_begins
from ..utils.rounding import percent_cell, significant
from ..visualization import save_detection_figure


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file of a LipDetector")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument(
        "--eps", nargs="+", type=float, default=[0.01, 0.02, 0.05], help="l2 norms (0.01 0.02 0.05)"
    )
    parser.add_argument(
        "--iou", type=float, default=0.5, help="intersection over union that is asked for (0.5)"
    )
    parser.add_argument(
        "--attack-steps",
        type=int,
        default=0,
        metavar="N",
        help="gradient steps of an attack on each object that is found (0: none)",
    )
    parser.add_argument("--every", type=int, default=1, metavar="K", help="take every K-th image")
    parser.add_argument("--limit", type=int, metavar="N", help="take at most N images")
    parser.add_argument("--out", type=Path, required=True, help="folder of detection.json")
    parser.add_argument("--show-dir", type=Path, help="folder of pictures, at the smallest eps")
    parser.add_argument(
        "--device", help="where to compute (default: cuda where there is one, else cpu)"
    )
    add_cfg_options(parser)
    args = parser.parse_args()
    for name, least in (("attack_steps", 0), ("every", 1), ("limit", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            flag = f"--{name.replace('_', '-')}"
            raise CommandLineError(f"{flag} must be at least {least}, got {value}")
    args.eps, args.iou = sorted(check_eps(args.eps)), check_share(args.iou, "--iou")
    check_output_folder(args.out, "--out")
    check_output_folder(args.show_dir, "--show-dir")
    args.checkpoint = check_checkpoint(args.checkpoint)
    return args


class Certification:
    """A detector, audited at the first image, and what is certain about each image.

    Args:
        model: The detector, in evaluation mode.
        iou: Intersection over union that is asked for.
    """

    def __init__(self, model: LipDetector, iou: float) -> None:
        self.model, self.iou = model, iou
        # Its checks of model and image; it has no metric, which is for label maps.
        self.checks = LipschitzCertifier(model, cast(Any, None))
        self.audit: dict[str, float] = {}

    @torch.no_grad()
    def detect(self, data: dict[str, Any]) -> tuple[DenseDetector, list[dict[str, Any]]]:
        """Boxes of an image, and its objects with the norms below which they are found."""
        sample = data["data_samples"]
        self.checks.check(data["inputs"], sample)
        if "gt_sem_seg" not in sample or is_resized(sample.metainfo):
            raise CommandLineError(
                f"{sample.img_path}: labels and the original size are needed, the test pipeline "
                "must have LoadCheckedAnnotations and no resizing"
            )
        batch = dict(inputs=[data["inputs"]], data_samples=[sample])
        self.audit = self.audit or self.checks.audit(batch)
        [found] = self.model.test_step(batch)
        bound, head = self.model.lipschitz_bound(found.input_size), self.model.decode_head
        labels = sample.gt_sem_seg.data[0].numpy(force=True)
        kinds, boxes, _ = label_boxes(labels, head.object_classes, head.min_pixels)
        fits = found.detector.detections.fits(kinds, boxes, self.iou).any(0)
        objects = [
            {
                "class": head.object_classes[kind],
                "box": box.tolist(),
                "found": bool(fit),
                "radius": found.detector.object_radius(kind, box, bound, self.iou),
            }
            for kind, box, fit in zip(kinds.tolist(), boxes, fits, strict=True)
        ]
        return found.detector, objects

    def attack(
        self, data: dict[str, Any], thing: dict[str, Any], eps: Sequence[float], steps: int
    ) -> list[bool]:
        """Whether an object is still found after an attack of each norm, in l2."""
        sample, model = data["data_samples"], self.model
        kind = model.decode_head.object_classes.index(thing["class"])
        box = np.array(thing["box"])
        objective = DetectionObjective(model.rule, sample.img_shape[:2], kind, box, self.iou)
        device = next(model.parameters()).device
        images = data["inputs"][None].to(device).float().expand(len(eps), -1, -1, -1) / 255
        predict = SegmentorLogits(model, [sample] * len(eps)).predict
        outputs = pgd(
            lambda x: torch.stack([found.outputs.data for found in predict(x)]),
            images,
            objective,
            Ball(torch.tensor(eps, dtype=torch.float64, device=device)),
            steps,
        )
        return (outputs.score > 0).tolist()


def detect_images(
    args: argparse.Namespace, certification: Certification, images: ImageList
) -> Iterator[dict[str, Any]]:
    """One row per image: its objects and its boxes."""
    names = images.dataset.metainfo["classes"]
    classes = certification.model.decode_head.object_classes
    for name in images.names:
        data = images.read(name)
        detector, objects = certification.detect(data)
        found = detector.detections
        kinds = [classes.index(thing["class"]) for thing in objects]
        truths = np.array([thing["box"] for thing in objects]).reshape(-1, 4)
        right = [bool(fit.any()) for fit in found.fits(kinds, truths, args.iou)]
        if args.attack_steps:
            for thing in objects:
                thing["attacked"] = thing["found"] and certification.attack(
                    data, thing, args.eps, args.attack_steps
                )
        if args.show_dir:
            title = f"{name}: {len(objects)} objects, {len(right)} boxes"
            save_detection_figure(
                args.show_dir / f"{name}.png",
                certification.checks.pixels(data["inputs"]),
                [(names[o["class"]], o["box"], o["found"], o["radius"]) for o in objects],
                found.boxes,
                args.eps[0],
                title,
            )
        boxes = [
            {"class": classes[c], "score": float(score), "box": box.tolist(), "right": fit}
            for c, score, box, fit in zip(*found, right, strict=True)
        ]
        yield {"image": name, "objects": objects, "boxes": boxes}
        sure = sum(thing["radius"] > args.eps[0] for thing in objects)
        print(
            f"{name}: {sum(o['found'] for o in objects)} of {len(objects)} objects found, "
            f"{sure} certified at {significant(args.eps[0])}"
        )


def summarize(
    rows: Sequence[dict[str, Any]], classes: Sequence[int], names: Sequence[str], eps: list[float]
) -> list[dict[str, Any]]:
    """Shares of objects and boxes, of all classes together and of each; None of none."""

    def share(flags: Sequence[bool]) -> float | None:
        return float(np.mean(flags)) if len(flags) else None

    result = []
    for wanted in (classes, *([c] for c in classes)):
        objects = [o for row in rows for o in row["objects"] if o["class"] in wanted]
        boxes = [box for row in rows for box in row["boxes"] if box["class"] in wanted]
        figures: dict[str, Any] = {
            "class": names[wanted[0]] if len(wanted) == 1 else "all",
            "objects": len(objects),
            "boxes": len(boxes),
            "precision": share([box["right"] for box in boxes]),
            "recall": share([thing["found"] for thing in objects]),
            "certified": [share([thing["radius"] > norm for thing in objects]) for norm in eps],
        }
        if any("attacked" in thing for thing in objects):
            figures["attacked"] = [
                share([bool(thing["attacked"] and thing["attacked"][i]) for thing in objects])
                for i in range(len(eps))
            ]
        result.append(figures)
    return result


def table(figures: Sequence[dict[str, Any]], eps: Sequence[float]) -> str:
    """Precision, recall, and recall under every perturbation of each norm, in percent."""
    norms = [f"eps {significant(norm)}" for norm in eps]
    result = PrettyTable(["class", "objects", "precision", "recall", "clean", *norms], align="r")
    result.align["class"] = result.align["recall"] = "l"
    for row in figures:
        head = [row["class"], row["objects"], percent_cell(row["precision"])]
        values = [percent_cell(share) for share in (row["recall"], *row["certified"])]
        result.add_row([*head, "certified", *values])
        if "attacked" in row:
            values = [percent_cell(share, up=True) for share in (row["recall"], *row["attacked"])]
            result.add_row(["", "", "", "under attack", *values])
    return result.get_string()


@one_line_errors
def main() -> int:
    """Run the tool; 1 if an attack refutes a certificate."""
    args = parse_args()
    config: Config = load_config(args.config, args.cfg_options)
    device = check_device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with DefaultScope.overwrite_default_scope(config.get("default_scope", "mmseg")):
        dataset, model = build_dataset(config), build_model(config)
        if not isinstance(model, LipDetector):
            raise CommandLineError(f"{args.config} has a {type(model).__name__}, no LipDetector")
        if args.checkpoint is None:
            raise CommandLineError("a detector needs a checkpoint")
        digest = fill_model(model, args.checkpoint)
        model.to(device).eval().requires_grad_(False)
        certification = Certification(model, args.iou)
        images = ImageList(dataset, every=args.every, limit=args.limit)
        work_begins()
        rows = list(detect_images(args, certification, images))
        certification.checks.finish()
    names, classes = dataset.metainfo["classes"], model.decode_head.object_classes
    figures = summarize(rows, classes, names, args.eps)
    result = {
        "experimental": True,
        "norm": "l2",
        "units": "[0,1] input pixels",
        "iou": args.iou,
        "eps": args.eps,
        "attack_steps": args.attack_steps,
        "lipschitz": certification.audit,
        "classes": figures,
        "images": rows,
        "model": {"config": str(args.config), "weights_sha256": digest},
        "environment": environment(),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "detection.json").write_text(certificate_json(result))
    print(table(figures, args.eps))
    refuted = [
        (row["image"], thing["class"], thing["radius"], norm)
        for row in rows
        for thing in row["objects"]
        for norm, found in zip(args.eps, thing.get("attacked") or [], strict=False)
        if thing["radius"] > norm and not found
    ]
    for name, label, radius, norm in refuted:
        print(f"REFUTED {name}: {names[label]} certified to {radius:.4g} is lost at {norm:.4g}")
    return 1 if refuted else 0
