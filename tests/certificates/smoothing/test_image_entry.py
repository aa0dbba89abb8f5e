import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_lipcert.certificates.smoothing import ClassHierarchy
from mmseg_lipcert.certificates.smoothing.corrections import holm_threshold
from mmseg_lipcert.certificates.smoothing.image_entry import smoothing_entry
from mmseg_lipcert.certificates.smoothing.maps import certified_labels, radius_map
from mmseg_lipcert.certificates.smoothing.metric_level import metric_level_k, wrong_certificates

from .cases import NUM_CLASSES, images, settings_of

CORRECTIONS = [("holm", 1), ("bonferroni", 1), ("k-fwer", 3), ("metric", 1)]
#: Vertices: classes 0-2, group of 0 and 1, group of 2, root 5.
HIERARCHY = ClassHierarchy(NUM_CLASSES, [{"low": [0, 1], "high": [2]}])
LEAVES = [{0}, {1}, {2}, {0, 1}, {2}, {0, 1, 2}]


def count_by_hand(selected, hits, target, settings, threshold, hierarchy):
    """Loop over the pixels."""
    counts = {name: [0] * NUM_CLASSES for name in ("tp", "fp", "abstained")}
    certified, information = 0, 0.0
    gain = HIERARCHY.information().tolist()
    for s, h, t in zip(*(m.flatten().tolist() for m in (selected, hits, target)), strict=True):
        if t == 255:
            continue
        passed = h >= threshold and not (hierarchy and s == 5)
        certified += passed
        if passed and s < NUM_CLASSES:
            counts["tp" if s == t else "fp"][s] += 1
        else:
            counts["abstained"][t] += 1
        if passed and t in LEAVES[s]:
            information += gain[s]
    return counts, certified, information


@pytest.mark.parametrize("hierarchy", [None, HIERARCHY], ids=["flat", "hierarchy"])
@pytest.mark.parametrize("correction, k", CORRECTIONS)
@given(data=st.data())
def test_entry_equals_a_loop_over_pixels(correction, k, hierarchy, data):
    vertices = NUM_CLASSES if hierarchy is None else len(hierarchy)
    selected, hits, target, clean = data.draw(images(vertices=vertices))
    # So few draws certify metrics only at a large alpha.
    settings = settings_of(correction, k, alpha=0.9 if correction == "metric" else 0.1)
    entry = smoothing_entry(
        selected, hits, target, clean, settings, NUM_CLASSES, hierarchy=hierarchy
    )
    assert json.loads(json.dumps(entry)) == entry
    tested = selected != 5
    valid = target != 255
    assert entry["valid"] == valid.sum()
    assert entry["tested"] == (valid & tested).sum()
    assert entry["gt_area"] == [(target == c).sum() for c in range(NUM_CLASSES)]
    for name, labels in (("clean", clean), ("smoothed", selected)):
        for c in range(NUM_CLASSES):
            assert entry[name]["pred_area"][c] == ((labels == c) & valid).sum()
            assert entry[name]["intersection"][c] == ((labels == c) & (target == c)).sum()
    for tau, row in zip(settings.taus, entry["certified"], strict=True):
        alpha = settings.alpha / 2
        if correction == "metric":
            alpha /= 3
            threshold = metric_level_k(30, tau, alpha)
            allowed = wrong_certificates(entry["tested"], 30, tau, alpha, threshold)
        else:
            # All tested pixels count, also those without label.
            histogram = torch.bincount(hits[tested], minlength=31)
            threshold = holm_threshold(histogram, 30, tau, alpha, correction, k)
            allowed = min(k - 1, entry["tested"])
        assert (row["tau"], row["threshold"], row["allowance"]) == (tau, threshold, allowed)
        counts, certified, information = count_by_hand(
            selected, hits, target, settings, threshold, hierarchy
        )
        assert {name: row[name] for name in counts} == counts
        assert row["certified"] == certified
        if hierarchy is not None:
            assert row["information"] == pytest.approx(information)


@given(images())
def test_curve_counts_correct_pixels_of_the_radius_map(image):
    selected, hits, target, clean = image
    settings = settings_of()
    curve = smoothing_entry(*image, settings, NUM_CLASSES)["curve"]
    radii = radius_map(hits, settings)
    assert len(curve["radius"]) == 20 and curve["radius"][0] == 0
    for radius, correct in zip(curve["radius"], curve["correct"], strict=True):
        reached = (radii >= radius) & (radii > 0)
        assert correct == (reached & (selected == target)).sum()


@given(images(vertices=6))
def test_labels_are_those_that_the_entry_counts(image):
    selected, hits, target, clean = image
    settings = settings_of()
    labels = certified_labels(selected, hits, settings, HIERARCHY)
    row = smoothing_entry(*image, settings, NUM_CLASSES, 255, HIERARCHY)["certified"][0]
    assert labels.dtype == torch.uint8
    assert row["tp"] == [((labels == c) & (target == c)).sum() for c in range(NUM_CLASSES)]
    assert sum(row["abstained"]) == ((labels == 255) & (target != 255)).sum()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"n": 4, "taus": (0.75,)}, "n must be at least"),
        ({"n": 4, "taus": (0.75,), "correction": "metric"}, "n must be at least"),
        ({"hits": 31}, r"hits must be in \[0, 30\], got 31..31"),
        ({"selected": 3}, r"selected must be in \[0, 3\), got 3..3"),
        ({"clean": -1}, r"clean must be in \[0, 3\), got -1..-1"),
        ({"target": 7}, "label 7"),
    ],
)
def test_bad_values_are_named(change, message):
    maps = {name: change.pop(name, 0) for name in ("selected", "hits", "target", "clean")}
    maps = [torch.full((4, 5), value) for value in maps.values()]
    with pytest.raises(ValueError, match=message):
        smoothing_entry(*maps, settings_of(**change), NUM_CLASSES)


def test_ignored_pixels_with_the_first_group_are_not_on_the_curve():
    hierarchy = ClassHierarchy(NUM_CLASSES, [{"low": [0, 1], "high": list(range(2, NUM_CLASSES))}])
    settings = settings_of(n=300)
    selected = torch.full((4, 5), NUM_CLASSES)  # the vertex of "low"
    target = torch.full((4, 5), 255)
    target[0] = 0
    hits = torch.full((4, 5), 300, dtype=torch.int32)
    clean = torch.zeros(4, 5, dtype=torch.long)
    entry = smoothing_entry(selected, hits, target, clean, settings, NUM_CLASSES, 255, hierarchy)
    assert entry["valid"] == 5 and entry["certified"][0]["tp"] == [0] * NUM_CLASSES
    assert set(entry["curve"]["correct"]) == {0}


def test_classes_that_look_like_abstention_are_refused():
    settings = settings_of(n=100)
    hits = torch.full((1, 2), 100)
    assert certified_labels(torch.tensor([[254, 0]]), hits, settings).tolist() == [[254, 0]]
    for wrong in (255, 256):
        with pytest.raises(ValueError, match=f"class {wrong} does not fit"):
            certified_labels(torch.tensor([[wrong, 0]]), hits, settings)
        uncertain = torch.tensor([[0, 100]])
        labels = certified_labels(torch.tensor([[wrong, 0]]), uncertain, settings)
        assert labels.tolist() == [[255, 0]]
