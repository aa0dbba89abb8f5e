"""From the lines of all attacked images to the figures of the dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from ..certificates import dataset_summary
from ..certificates.metrics import MEAN_METRICS, METRICS, Metric, shares
from ..certificates.records import ImageEntry, LossEntry
from ..report.attack_records import AttackCounts, AttackedImage, AttackSummary, LabelCounts

# Sweeps over the images in search of the choice of attacks with the lowest mean over classes.
_SWEEPS = 5


def attacked_entry(line: AttackedImage) -> LossEntry:
    """What the attacks did to one image, in the form of ``certificates.image_entry``.

    Every metric of every class gets its own worst attack. A perturbation that was found for a
    smaller eps is one for every larger eps, too.

    Args:
        line: ``image`` (a name), ``eps``, ``valid``, ``gt_area``, ``clean`` (counts) and
            ``attacks`` (counts per eps and attack) of one image.
    """
    clean = line["clean"]
    pools = [candidates(line, i) for i in range(len(line["eps"]))]
    hits = [np.array([c["intersection"] for c in p]) for p in pools]
    false = [
        np.array([c["pred_area"] for c in p]) - hit for p, hit in zip(pools, hits, strict=True)
    ]
    # The first candidate is the clean prediction.
    lost = [hit[0] - hit for hit in hits]
    made = [wrong - wrong[0] for wrong in false]
    return LossEntry(
        image=line["image"],
        eps=line["eps"],
        valid=line["valid"],
        correct=clean["correct"],
        correct_lost=[clean["correct"] - min(c["correct"] for c in p) for p in pools],
        stable_lost=[line["valid"] - min(c["stable"] for c in p) for p in pools],
        intersection=clean["intersection"],
        gt_area=line["gt_area"],
        pred_area=clean["pred_area"],
        recall_lost=[values.max(0).tolist() for values in lost],
        specificity_lost=[values.max(0).tolist() for values in made],
        frontier=[
            [_harmful(a[:, c], b[:, c]) for c in range(a.shape[1])]
            for a, b in zip(lost, made, strict=True)
        ],
        radius=[],
        accuracy_curve=dict(radius=[], correct=[]),
        curve=[],
        regions=None,
        fabrication=None,
    )


def candidates(line: AttackedImage, index: int) -> list[LabelCounts]:
    """Counts of all predictions that an eps allows: the clean one first, then the attacks."""
    return [line["clean"], *_attacks(line, index)]


def _attacks(line: AttackedImage, index: int) -> list[AttackCounts]:
    eps = line["eps"][index]
    allowed = [found for e, found in zip(line["eps"], line["attacks"], strict=True) if e <= eps]
    return [counts for found in allowed for counts in found]


def _harmful(lost: np.ndarray, made: np.ndarray) -> list[list[float]]:
    """Pairs (true positives lost, false positives made) that may lower IoU or Dice."""
    pairs = {(int(a), int(b)) for a, b in zip(lost, made, strict=True) if a > 0 or b > 0}
    return [list(pair) for pair in sorted({(0, 0), *pairs})]


def attack_summary(lines: Sequence[AttackedImage]) -> AttackSummary:
    """Clean, attacked and certified figures of a dataset.

    Attacked figures are attained: those of a class by the attack on each image that hurts this
    class most, mIoU and the other means over classes by one attack per image for all classes (the
    best choice that a descent image by image finds). They are therefore upper bounds of the worst
    case, where certified figures, in which every class faces the whole budget alone, are lower
    bounds.

    Args:
        lines: Of the images; see ``attacked_entry``. ``certified`` is an entry of
            ``certificates.image_entry`` or None.

    Returns:
        ``clean``; ``attacked``: per eps a row as in ``certificates.dataset_summary``;
        ``certified``: the same or None; ``strongest``: per eps, on how many images each attack left
        the fewest correct pixels.
    """
    summary = dataset_summary([attacked_entry(line) for line in lines])
    for i, row in enumerate(summary["certified"]):
        row.update(_lowest_means(lines, i))
    certified = None
    entries = [line["certified"] for line in lines if line["certified"] is not None]
    if len(entries) == len(lines):
        named: list[ImageEntry] = [
            {**entry, "image": line["image"]} for entry, line in zip(entries, lines, strict=True)
        ]
        certified = dataset_summary(named)["certified"]
    strongest = []
    for i in range(len(lines[0]["eps"])):
        best = [min(_attacks(line, i), key=lambda c: c["correct"]) for line in lines]
        strongest.append(dict(Counter(counts["attack"] for counts in best).most_common()))
    return {
        "images": len(lines),
        "clean": summary["clean"],
        "attacked": summary["certified"],
        "certified": certified,
        "strongest": strongest,
    }


def _lowest_means(lines: Sequence[AttackedImage], index: int) -> dict[str, float]:
    """Means over classes that one choice of an attack per image attains, each as low as found."""
    pools = [candidates(line, index) for line in lines]
    hits = [np.array([c["intersection"] for c in pool]) for pool in pools]
    areas = [np.array([c["pred_area"] for c in pool]) for pool in pools]
    gt_area = np.array([line["gt_area"] for line in lines]).sum(0)
    valid = sum(line["valid"] for line in lines)
    start = [int(np.argmin([c["correct"] for c in pool])) for pool in pools]

    def mean_of(metric: Metric) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        return lambda hit, area: _mean(metric.value(hit, gt_area, area, valid))

    return {
        mean.name: _descend(mean_of(METRICS[mean.of]), hits, areas, start) for mean in MEAN_METRICS
    }


def _descend(figure, hits: list[np.ndarray], areas: list[np.ndarray], start: list[int]) -> float:
    """Exchange the attack of one image at a time while the figure falls."""
    choice = list(start)
    hit = sum(h[i] for h, i in zip(hits, choice, strict=True))
    area = sum(a[i] for a, i in zip(areas, choice, strict=True))
    lowest = float(figure(hit, area))
    for _ in range(_SWEEPS):
        before = lowest
        for n, (h, a) in enumerate(zip(hits, areas, strict=True)):
            values = figure(hit + h - h[choice[n]], area + a - a[choice[n]])
            best = int(np.argmin(values))
            if values[best] < lowest:
                hit, area = hit + h[best] - h[choice[n]], area + a[best] - a[choice[n]]
                choice[n], lowest = best, float(values[best])
        if lowest == before:
            break
    return lowest


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    defined = ~np.isnan(values)
    return shares(np.where(defined, values, 0).sum(-1), defined.sum(-1))
