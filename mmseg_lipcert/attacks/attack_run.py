from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ..certificates import RegionQuery
from ..certificates.records import ImageEntry
from ..certificates.regions import region_numbers
from ..engine.certifiers import LipschitzCertifier
from ..report.attack_records import AttackedImage, LabelCounts, Violation
from .attack_settings import AttackSettings
from .ball import norms
from .catalog import attack_accuracy
from .counts import label_counts, refuted
from .exact_segmentor import ExactSegmentor, compared_metric
from .invention_site import invention_site
from .minimal_norm import minimal_norm
from .objectives import ErrorObjective, FabricationObjective, QuotaObjective, VanishingObjective
from .objectives.label_margins import label_margins
from .segmentor_logits import SegmentorLogits
from .smoothed_logits import SmoothedLogits

#: Smaller objects are not attacked, as they are not certified by default.
MIN_REGION_PIXELS = RegionQuery().min_pixels


class AttackRun:
    """Attacks batches of images, and compares with certificates where the model has them.

    Args:
        segmentor: The model that is attacked, in evaluation mode on its device.
        settings: What is attacked how.
        num_classes: Number of classes.
        ignore_index: Label of ignored pixels.
        sigma: Standard deviation of the noise of the smoothed model whose base is ``segmentor``;
            None for a model without noise.
    """

    def __init__(
        self,
        segmentor: nn.Module,
        settings: AttackSettings,
        num_classes: int,
        ignore_index: int = 255,
        sigma: float | None = None,
    ) -> None:
        self.segmentor = segmentor
        self.settings = settings
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.sigma = sigma
        self.certifier = self.judge = None
        if sigma is None and hasattr(segmentor, "lipschitz_bound"):
            metric = compared_metric(
                settings.eps,
                settings.thresholds,
                ignore_index,
                MIN_REGION_PIXELS if settings.vanish else sys.maxsize,
                vanish_share=settings.vanish_share,
                object_classes=settings.fabricate,
                fabricate_pixels=settings.fabricate_pixels,
            )
            self.certifier = LipschitzCertifier(segmentor, metric)
            self.judge = ExactSegmentor(segmentor)

    def attack(
        self, inputs: Sequence[Tensor], samples: Sequence[BaseDataElement]
    ) -> list[tuple[AttackedImage, dict[str, np.ndarray], list[dict[str, Any]]]]:
        """Attack images of one size.

        Args:
            inputs: Images (3, H, W), 0..255, as the test pipeline gives them.
            samples: Their samples with names and labels.

        Returns:
            Per image its line for ``attack_summary`` (with ``violations``), the label maps that the
            strongest attacks left, and the counterexamples of confirmed violations: arrays
            and what they refute, to be saved.
        """
        names = [sample.image_name for sample in samples]
        device = next(self.segmentor.parameters()).device
        images = torch.stack(list(inputs)).to(device).float() / 255
        target = torch.stack([sample.gt_sem_seg.data[0] for sample in samples]).to(device)
        logits_of, labels_of = self._maps(names, samples)
        clean = labels_of(images)
        certified = [
            self._certify(image, sample) if self.certifier else None
            for image, sample in zip(images, samples, strict=True)
        ]
        lines: list[AttackedImage] = [
            {
                "image": name,
                "eps": self.settings.eps,
                "valid": int((truth != self.ignore_index).sum()),
                "gt_area": self._counts(truth, truth, truth)["pred_area"],
                "clean": self._counts(labels, labels, truth),
                "attacks": [],
                "minimal": [],
                "regions": [],
                "certified": entry,
                "violations": [],
            }
            for name, truth, labels, entry in zip(names, target, clean, certified, strict=True)
        ]
        maps: list[dict[str, np.ndarray]] = [{} for _ in names]
        counterexamples: list[list[dict[str, Any]]] = [[] for _ in names]
        for i, eps in enumerate(self.settings.eps):
            found = attack_accuracy(
                logits_of,
                images,
                target,
                eps,
                attacks=self.settings.attacks,
                steps=self.settings.steps,
                clip=self.settings.clip,
                ignore_index=self.ignore_index,
            )
            labels = {name: labels_of(images + result.delta) for name, result in found.items()}
            for n, line in enumerate(lines):
                counts = {
                    name: self._counts(predicted[n], clean[n], target[n])
                    for name, predicted in labels.items()
                }
                line["attacks"].append(
                    [
                        {"attack": name, "norm": norms(found[name].delta[n : n + 1]).item(), **c}
                        for name, c in counts.items()
                    ]
                )
                best = min(counts, key=lambda name: counts[name]["correct"])
                maps[n][f"prediction_{eps:g}"] = labels[best][n].cpu().numpy().astype(np.uint8)
                for name, c in counts.items() if line["certified"] else ():
                    metrics = refuted(line["certified"], i, c)
                    if metrics:
                        delta = found[name].delta[n]
                        case = dict(eps=eps, attack=name, image=images[n], target=target[n])
                        self._judge(line, counterexamples[n], delta, samples[n], metrics, case)
        for threshold in self.settings.thresholds:
            self._minimal(logits_of, images, target, samples, threshold, lines, counterexamples)
        for n, line in enumerate(lines):
            image, truth = images[n : n + 1], target[n : n + 1]
            self._regions(image, truth, samples[n], line, counterexamples[n])
        return list(zip(lines, maps, counterexamples, strict=True))

    def _maps(self, names: Sequence[str], samples: Sequence[BaseDataElement]):
        """The map that attacks differentiate, and the one from images to predicted labels."""
        base = SegmentorLogits(self.segmentor, samples)
        if self.sigma is None:
            return base, base.labels
        settings = self.settings
        # Fresh draws judge what was optimized for others.
        attacked, voting = (
            SmoothedLogits(
                base, self.sigma, draws, [_seed(settings.seed, name, stage) for name in names]
            )
            for stage, draws in (("attack", settings.draws), ("vote", settings.votes))
        )
        return attacked, voting.labels

    def _counts(self, labels: Tensor, clean: Tensor, target: Tensor) -> LabelCounts:
        return label_counts(labels, clean, target, self.num_classes, self.ignore_index)

    @torch.no_grad()
    def _certify(self, image: Tensor, sample: BaseDataElement) -> ImageEntry:
        """The certificate of an image (3, H, W), as ``tools/test.py --certify`` gives it."""
        (predicted,) = SegmentorLogits(self.segmentor, [sample]).predict(image[None])
        predicted.gt_sem_seg = sample.gt_sem_seg.to(image.device)
        return self.certifier.certify(predicted).entry

    def _judge(
        self,
        line: AttackedImage,
        counterexamples: list[dict[str, Any]],
        delta: Tensor,
        sample: BaseDataElement,
        metrics: list[str],
        case: dict[str, Any],
    ) -> None:
        """Repeat a comparison in float64, and keep what still refutes the certificate."""
        shape = tuple(sample.metainfo["img_shape"][:2])
        exact, norm = self.judge.judge(case["image"], delta, case["target"], case["eps"], shape)
        self._record(line, counterexamples, delta, case, bool(exact), exact or metrics, norm)

    def _record(
        self,
        line: AttackedImage,
        counterexamples: list[dict[str, Any]],
        delta: Tensor,
        case: dict[str, Any],
        confirmed: bool,
        metrics: list[str],
        norm: float,
    ) -> None:
        violation = Violation(
            eps=case["eps"],
            attack=case["attack"],
            metrics=metrics,
            norm=norm,
            confirmed=confirmed,
        )
        line["violations"].append(violation)
        if confirmed:
            arrays = dict(
                image=(255 * case["image"]).round().to(torch.uint8),
                delta=delta,
                target=case["target"],
            )
            counterexamples.append(
                {**violation, **{name: value.cpu().numpy() for name, value in arrays.items()}}
            )

    def _regions(
        self,
        image: Tensor,
        target: Tensor,
        sample: BaseDataElement,
        line: AttackedImage,
        counterexamples: list[dict[str, Any]],
    ) -> None:
        """Look for the shortest perturbations that erase objects and invent some of classes."""
        logits_of, _ = self._maps([line["image"]], [sample])
        with torch.no_grad():
            logits = logits_of(image)
        found = self._region_objectives(target, logits)
        for kind, index, class_index, pixels, objective in found:
            (delta,), (length,) = minimal_norm(
                logits_of, image, objective, 2 * self.settings.steps, clip=self.settings.clip
            )
            norm, radius = length.item(), None

            def radius_of(entry: ImageEntry, kind: str = kind, index: int = index) -> float:
                return entry["regions" if kind == "vanish" else "fabrication"][index]["radius"]

            if line["certified"] and line["certified"]["regions"] is not None:
                radius = radius_of(line["certified"])
            line["regions"].append(
                {
                    "kind": kind,
                    "class": class_index,
                    "pixels": pixels,
                    "norm": norm,
                    "radius": radius,
                }
            )
            if radius is not None and norm < radius:
                confirmed = self.judge.judge_region(
                    image[0],
                    delta,
                    target[0],
                    objective,
                    radius_of,
                    self.certifier.metric,
                    tuple(sample.metainfo["img_shape"][:2]),
                )
                case = dict(eps=norm, attack=kind, image=image[0], target=target[0])
                what = [f"{kind}/{class_index}"]
                self._record(line, counterexamples, delta, case, confirmed, what, norm)

    def _region_objectives(
        self, target: Tensor, logits: Tensor
    ) -> Iterator[tuple[str, int, int, int, QuotaObjective]]:
        """Kind, place in the certificate, class, pixels and objective of what is attacked."""
        settings, labels = self.settings, target[0].cpu().numpy()
        if settings.vanish:
            classes = [c for c in range(self.num_classes) if c != self.ignore_index]
            numbers, owners = region_numbers(labels, classes, MIN_REGION_PIXELS)
            sizes = np.bincount(numbers.ravel(), minlength=len(owners) + 1)[1:]
            wanted = settings.vanish_classes or classes
            largest = [i for i in np.argsort(-sizes, kind="stable") if owners[i] in wanted]
            for index in map(int, largest[: settings.vanish]):
                mask = torch.from_numpy(numbers == index + 1)[None].to(target.device)
                objective = VanishingObjective(mask, owners[index], settings.vanish_share)
                yield "vanish", index, owners[index], int(sizes[index]), objective
        for index, c in enumerate(settings.fabricate):
            lacking = -label_margins(logits, torch.full_like(target, c))[0]
            site = invention_site(
                lacking.cpu().numpy(),
                labels,
                c,
                settings.fabricate_pixels,
                RegionQuery().fabricate_distance,
                self.ignore_index,
            )
            where = torch.from_numpy(site)[None].to(target.device)
            pixels = settings.fabricate_pixels
            yield "fabricate", index, c, pixels, FabricationObjective(where, c, pixels)

    def _minimal(
        self,
        logits_of,
        images: Tensor,
        target: Tensor,
        samples: Sequence[BaseDataElement],
        threshold: float,
        lines: list[AttackedImage],
        counterexamples: list[list[dict[str, Any]]],
    ) -> None:
        """Look for the shortest perturbation that undercuts a pixel accuracy."""
        objective = ErrorObjective(target, threshold, self.ignore_index)
        deltas, lengths = minimal_norm(
            logits_of, images, objective, 2 * self.settings.steps, clip=self.settings.clip
        )
        for n, line in enumerate(lines):
            length = lengths[n].item() if line["valid"] else None
            radius = None
            if line["certified"]:
                (radius,) = (
                    point["value"]
                    for point in line["certified"]["radius"]
                    if point["threshold"] == threshold
                )
            line["minimal"].append({"threshold": threshold, "norm": length, "radius": radius})
            if radius is not None and length < radius:
                shape = tuple(samples[n].metainfo["img_shape"][:2])
                confirmed = self.judge.judge_radius(
                    images[n], deltas[n], target[n], threshold, shape
                )
                case = dict(eps=length, attack="minimal", image=images[n], target=target[n])
                self._record(
                    line,
                    counterexamples[n],
                    deltas[n],
                    case,
                    confirmed,
                    [f"radius/{threshold:g}"],
                    length,
                )


def _seed(seed: int, name: str, stage: str) -> int:
    """A seed that depends on nothing but its arguments."""
    digest = hashlib.blake2b(repr((seed, name, stage)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
