"""How often certificates are wrong when the pixels that must not be certified have p = tau.

Every bound has to fail in at most alpha of the repetitions, and the corrections come close enough
to it for an off-by-one in hits or draws to show.
"""

import functools
import math

import numpy as np
import pytest
import torch
from scipy.stats import binom

from mmseg_lipcert.certificates.smoothing import corrections, maps
from mmseg_lipcert.certificates.smoothing.dataset_summary import smoothing_summary
from mmseg_lipcert.certificates.smoothing.image_entry import smoothing_entry
from mmseg_lipcert.certificates.smoothing.metric_level import metric_level_k, wrong_certificates
from mmseg_lipcert.certificates.smoothing.settings import SmoothingSettings

REPETITIONS, ALPHA = 10_000, 0.1
#: Three standard deviations of a rate of alpha.
MARGIN = 3 * math.sqrt(ALPHA * (1 - ALPHA) / REPETITIONS)
N, TAU = 60, 0.75

#: Pixels as (selected, label, robust, number); robust ones always hit, others with p = tau.
GROUPS = [
    (0, 0, True, 12),
    (1, 1, True, 10),
    (1, 0, True, 2),
    (2, 2, True, 4),
    (0, 0, False, 8),
    (1, 1, False, 8),
    (0, 1, False, 4),
    (2, 0, False, 4),
]
SELECTED, LABEL, ROBUST = (
    np.concatenate([np.full(group[-1], group[i]) for group in GROUPS]) for i in range(3)
)
ROBUST = ROBUST.astype(bool)
SIZES = {"independent": 1, "blocks": 8, "comonotone": 24}


@functools.cache
def draw_hits(dependence: str) -> np.ndarray:
    """Hits, repetitions x pixels; pixels of one block always share their draws."""
    block = SIZES[dependence]
    nulls = np.count_nonzero(~ROBUST)
    generator = np.random.default_rng(SIZES[dependence])
    drawn = generator.binomial(N, TAU, size=(REPETITIONS, nulls // block))
    hits = np.full((REPETITIONS, len(ROBUST)), N)
    hits[:, ~ROBUST] = drawn.repeat(block, axis=1)
    return hits


@pytest.fixture(autouse=True)
def cached_table(monkeypatch):
    """One table for all repetitions."""
    table = functools.cache(corrections.p_value_table)
    monkeypatch.setattr(corrections, "p_value_table", table)


def wrong_pixels(hits: np.ndarray, correction: str, k: int) -> np.ndarray:
    """Number of wrong certificates in every repetition."""
    histograms = np.zeros((len(hits), N + 1), dtype=np.int64)
    np.add.at(histograms, (np.arange(len(hits))[:, None], hits), 1)
    thresholds = [
        corrections.holm_threshold(histogram, N, TAU, ALPHA, correction, k)
        for histogram in histograms
    ]
    return (hits[:, ~ROBUST] >= np.array(thresholds)[:, None]).sum(1)


@pytest.mark.parametrize("dependence", SIZES)
@pytest.mark.parametrize("correction, k", [("holm", 1), ("bonferroni", 1), ("k-fwer", 3)])
def test_single_pixels(correction, k, dependence):
    failed = (wrong_pixels(draw_hits(dependence), correction, k) >= k).mean()
    assert failed <= ALPHA + MARGIN


def test_holm_comes_close_to_alpha():
    """24 independent pixels at level alpha / 24, up to the steps of the binomial."""
    level = binom.sf(np.arange(-1, N), N, TAU)
    level = level[level <= ALPHA / 24].max()
    expected = 1 - (1 - level) ** 24
    failed = (wrong_pixels(draw_hits("independent"), "holm", 1) >= 1).mean()
    assert expected > ALPHA / 2
    assert failed == pytest.approx(expected, abs=MARGIN)


@pytest.mark.parametrize("dependence", SIZES)
@pytest.mark.parametrize("tolerance", [0.03, 0.1, 0.3])
def test_number_of_wrong_certificates(tolerance, dependence):
    k = metric_level_k(N, TAU, ALPHA, tolerance)
    wrong = (draw_hits(dependence)[:, ~ROBUST] >= k).sum(1)
    allowed = wrong_certificates(int((~ROBUST).sum()), N, TAU, ALPHA, k)
    assert (wrong > allowed).mean() <= ALPHA + MARGIN


def true_figures() -> tuple[float, list[float], list[float]]:
    """Accuracy, IoU and recall when everything that is not robust falls, for every class."""
    right = ROBUST & (SELECTED == LABEL)
    ious, recalls = [], []
    for c in range(3):
        truth = LABEL == c
        kept = (right & truth).sum()
        made = (~truth & (~ROBUST | (SELECTED == c))).sum()
        ious.append(kept / (truth.sum() + made))
        recalls.append(kept / truth.sum())
    return right.mean(), ious, recalls


def interchangeable(hits: np.ndarray) -> np.ndarray:
    """Hits sorted among pixels of the same selection, label and truth: fewer different maps."""
    kinds = np.stack([SELECTED, LABEL, ROBUST])
    for kind in np.unique(kinds, axis=1).T:
        members = (kinds == kind[:, None]).all(0)
        hits[:, members] = np.sort(hits[:, members], axis=1)
    return hits


@pytest.mark.parametrize("dependence", SIZES)
@pytest.mark.parametrize("correction", ["holm", "metric"])
def test_figures_of_a_dataset(correction, dependence, monkeypatch):
    """A repetition fails when any of the figures is above the true worst case."""
    settings = SmoothingSettings(0.25, 10, N, ALPHA, (TAU,), correction)
    hits = draw_hits(dependence)
    if correction == "metric":
        # So that a few wrong certificates have to be reckoned with among so few pixels.
        tolerant = functools.partial(metric_level_k, tolerance=0.3)
        monkeypatch.setattr(maps, "metric_level_k", tolerant)
        hits = np.where(hits >= tolerant(N, TAU, settings.alpha_per_event), N, 0)
    else:
        # Without a wrong certificate nothing can fail.
        hits = hits[wrong_pixels(hits, "holm", 1) > 0]
    patterns, counts = np.unique(interchangeable(hits), axis=0, return_counts=True)
    accuracy, ious, recalls = true_figures()
    selected, label = torch.from_numpy(SELECTED)[None], torch.from_numpy(LABEL)[None]
    failed = 0
    for pattern, count in zip(patterns, counts, strict=True):
        drawn = torch.from_numpy(pattern)[None]
        entry = smoothing_entry(selected, drawn, label, selected, settings, 3)
        row = smoothing_summary([entry])["certified"][0]
        claims = [(row["pixel_accuracy"], accuracy), (row["pixel_accuracy_dataset"], accuracy)]
        claims += [(v["iou"], true) for v, true in zip(row["per_class"], ious, strict=True)]
        claims += [(v["recall"], true) for v, true in zip(row["per_class"], recalls, strict=True)]
        claims += [(row["mIoU"], np.mean(ious)), (row["mAcc"], np.mean(recalls))]
        failed += count * any(claim > true + 1e-12 for claim, true in claims)
    assert failed / REPETITIONS <= ALPHA + MARGIN
