"""Objects that stay detected and objects that are invented, against every label map of an image."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmseg_lipcert.certificates import RegionQuery, dataset_summary, image_entry
from mmseg_lipcert.certificates.image_problem import ImageProblem
from mmseg_lipcert.certificates.objects import alarm_map, alarm_zone
from mmseg_lipcert.certificates.pixel_maps import PixelMaps, shared_prices
from mmseg_lipcert.certificates.regions import change_radius

from .cases import IGNORE, attack_sizes
from .reference import LabelMaps


class Scene(NamedTuple):
    """An image whose pixels may share logits, small enough for every label map to be tried."""

    logits: Tensor
    target: Tensor
    lipschitz: float
    maps: LabelMaps
    cell: np.ndarray
    cells: tuple[Tensor, Tensor] | None

    def predictions(self, budget: float) -> np.ndarray:
        """All predictions (n, H, W) that an attacker can afford."""
        return self.maps.maps[self.maps.cost <= budget][:, self.cell]


@st.composite
def scenes(draw):
    classes = draw(st.integers(1, 3))
    height, width = draw(st.sampled_from([(1, 4), (2, 3), (3, 2), (1, 6)]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    logits = torch.randn(classes, height, width, generator=generator, dtype=torch.float64)
    if draw(st.booleans()):
        logits = logits.round()  # ties
    repeats = [
        torch.arange(size).repeat_interleave(
            torch.tensor(draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)))
        )
        for size in (height, width)
    ]
    cells = None if draw(st.booleans()) or 0 in map(len, repeats) else tuple(repeats)
    rows, columns = cells or (torch.arange(height), torch.arange(width))
    labels = max(2, classes)
    # Often some classes are labeled nowhere, so that all of them can be false alarms.
    used = draw(st.integers(1, labels))
    target = torch.randint(0, used + 1, (len(rows), len(columns)), generator=generator)
    target[target == used] = draw(st.sampled_from([0, IGNORE]))
    maps = LabelMaps(logits.flatten(1).numpy(), np.zeros((labels, height * width), dtype=int))
    cell = (rows[:, None] * width + columns).numpy()
    bound = draw(st.sampled_from([0.3, 1.0, 4.46]))
    return Scene(logits, target, bound, maps, cell, cells)


def flood(mask: np.ndarray) -> list[frozenset]:
    """8-connected components, by walking from pixel to pixel."""
    left, parts = {tuple(p) for p in np.argwhere(mask).tolist()}, []
    while left:
        heap, part = [left.pop()], set()
        while heap:
            y, x = heap.pop()
            part.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            heap += near
        parts.append(frozenset(part))
    return parts


def far_pixels(target: np.ndarray, c: int, distance: int) -> np.ndarray:
    """Valid pixels whose square of a radius holds no label of a class."""
    zone = target != IGNORE
    for y, x in np.argwhere(target == c):
        zone[max(0, y - distance) : y + distance + 1, max(0, x - distance) : x + distance + 1] = 0
    return zone


@settings(deadline=None)
@given(scene=scenes(), data=st.data())
def test_no_label_map_within_the_budget_has_more_false_alarms(scene, data):
    c = data.draw(st.integers(0, max(2, len(scene.logits)) - 1))
    pixels, distance = data.draw(st.integers(1, 5)), data.draw(st.integers(0, 2))
    zone = far_pixels(scene.target.numpy(), c, distance)

    def objects(prediction):
        return [part for part in flood(zone & (prediction == c)) if len(part) >= pixels]

    there = objects(scene.maps.clean[scene.cell])
    known = set().union(*there)
    invented = np.array(
        [
            sum(not part & known for part in objects(prediction))
            for prediction in scene.predictions(np.inf)
        ]
    )
    # The smallest norm at which so many can be invented: a tie goes to the attacker.
    costs = [scene.maps.cost[invented >= n].min() for n in range(1, invented.max() + 1)]
    eps = [0.0, *(max(math.sqrt(max(cost, 0)) / scene.lipschitz, 1e-12) for cost in costs)]
    query = RegionQuery(
        min_pixels=1, object_classes=(c,), fabricate_pixels=pixels, fabricate_distance=distance
    )
    options = dict(regions=query, cells=scene.cells)
    entry = image_entry(scene.logits, scene.target, eps, scene.lipschitz, **options)
    (found,) = entry["fabrication"]
    assert found["alarms"] == len(there)
    assert found["invented"][0] == 0
    for n, (norm, bound) in enumerate(zip(eps, found["invented"], strict=True)):
        assert bound >= n
        assert n == 0 or found["radius"] <= norm * (1 + 1e-12)


@settings(deadline=None)
@given(scene=scenes(), share=st.floats(0.05, 1.0), data=st.data())
def test_no_label_map_within_the_budget_makes_a_certified_object_vanish(scene, share, data):
    eps = data.draw(attack_sizes(scene))
    query = RegionQuery(vanish_share=share, min_pixels=1)
    options = dict(regions=query, cells=scene.cells)
    entry = image_entry(scene.logits, scene.target, [eps], scene.lipschitz, **options)
    target, predictions = scene.target.numpy(), scene.predictions(np.inf)
    kept = dict.fromkeys(range(max(2, len(scene.logits))), 0)
    # By class, and then in reading order of their first pixels.
    parts = [(c, part) for c in kept for part in sorted(flood(target == c), key=min)]
    for (c, part), region in zip(parts, entry["regions"], strict=True):
        assert (region["class"], region["pixels"]) == (c, len(part))
        rows, columns = np.array(sorted(part)).T
        lost = (predictions[:, rows, columns] != c).sum(1)
        costs = scene.maps.cost[lost >= share * len(part) - 1e-9]
        cheapest = math.sqrt(max(0.0, costs.min())) / scene.lipschitz if len(costs) else math.inf
        assert region["radius"] <= cheapest * (1 + 1e-12)
        if scene.cells is None:
            assert region["radius"] == pytest.approx(cheapest, rel=1e-9, abs=1e-12)
        kept[c] += region["radius"] > eps
    summary = dataset_summary([entry])["regions"]
    assert [row["detected"] for row in summary] == [[count] for count in kept.values()]


@settings(deadline=None)
@given(scene=scenes(), share=st.floats(0.05, 1.0), data=st.data())
def test_no_label_map_below_the_radius_changes_a_region(scene, share, data):
    classes = max(2, len(scene.logits))
    to = data.draw(st.none() | st.integers(0, classes - 1))
    seed = data.draw(st.integers(0, 999))
    where = np.random.default_rng(seed).random(scene.cell.shape) < 0.6
    where.flat[0] = True
    target = scene.target if scene.cells is None else torch.zeros(classes, *scene.logits.shape[1:])
    maps = PixelMaps(ImageProblem(scene.logits, target.long()), scene.target, scene.cells)
    radius = change_radius(maps, where, share, scene.lipschitz, to)
    before, after = scene.maps.clean[scene.cell], scene.predictions(np.inf)
    changed = after != before if to is None else after == to
    enough = changed[:, where].sum(1) >= share * where.sum() - 1e-9
    costs = scene.maps.cost[enough]
    cheapest = math.sqrt(max(0.0, costs.min())) / scene.lipschitz if len(costs) else math.inf
    assert radius <= cheapest * (1 + 1e-12)
    if scene.cells is None:
        assert radius == pytest.approx(cheapest, rel=1e-9, abs=1e-12)


def two_classes(margins):
    """Logits of two classes whose flip costs are given; class 1 where they are negative."""
    margins = torch.as_tensor(margins, dtype=torch.float64)
    return torch.stack((margins, -margins)) / math.sqrt(2)


def test_pixels_of_one_logit_are_paid_once():
    # An object of 2 x 4 pixels behind logits of 2 x 2 pixels, of costs 3 and 4.
    cells = (torch.arange(2).repeat_interleave(2), torch.arange(3).repeat_interleave(2))
    logits = two_classes([[-3, -4, 9], [9, 9, 9]])
    target = torch.zeros(4, 6, dtype=torch.long)
    target[:2, :4] = 1
    for share, budget in ((0.5, 9), (0.75, 9 + 16 / 2), (1.0, 25)):
        query = RegionQuery(vanish_share=share, min_pixels=2)
        entry = image_entry(logits, target, 1.0, 1.0, regions=query, cells=cells)
        (region,) = (r for r in entry["regions"] if r["class"] == 1)
        assert region["radius"] == pytest.approx(math.sqrt(budget)) and region["detected"] == 8


def test_inventions_are_counted_by_their_pixels():
    # Nothing is labeled 1; a speck of 1 pixel is there already; other pixels cost 1.
    margins = torch.ones(3, 10)
    margins[1, 4] = -1
    target = torch.zeros(3, 10, dtype=torch.long)
    query = RegionQuery(object_classes=(1,), fabricate_pixels=5)
    eps = [0.0, 1.9, 2.0, 2.9, 3.0, 10.0]
    entry = image_entry(two_classes(margins), target, eps, 1.0, regions=query)
    (found,) = entry["fabrication"]
    assert found["invented"] == [0, 0, 1, 1, 2, 6]
    assert found["radius"] == pytest.approx(2.0) and found["alarms"] == 0


def test_objects_near_a_label_are_no_false_alarm():
    target = np.zeros((9, 12), int)
    target[4, 2], target[0, 11] = 1, IGNORE
    zone = alarm_zone(target, 1, 2)
    assert not zone[2:7, :5].any() and not zone[0, 11] and zone.sum() == 9 * 12 - 25 - 1
    assert alarm_zone(target, 1, 0).sum() == 9 * 12 - 2
    assert alarm_zone(target, 2, 3).sum() == 9 * 12 - 1
    found = np.zeros((4, 8), bool)
    found[0, 0] = found[1, 1] = found[2, 2] = found[0, 5] = found[1, 5] = True
    alarm, count = alarm_map(found, 3)
    assert count == 1 and alarm.sum() == 3 and not alarm[:, 5].any()


def test_a_false_alarm_that_is_there_is_counted_and_not_invented():
    margins = torch.ones(3, 30)
    margins[:, 10:13] = -1
    target = torch.zeros(3, 30, dtype=torch.long)
    query = RegionQuery(object_classes=(1,), fabricate_pixels=9, min_pixels=1)
    logits = two_classes(margins)
    entries = [
        image_entry(logits, target, [0.5, 3.0], 1.0, regions=query),
        image_entry(logits.abs() * torch.tensor([1, -1])[:, None, None], target, [0.5, 3.0], 1.0,
                    regions=query),
    ]  # fmt: skip
    summary = dataset_summary(entries)
    (row,) = summary["fabrication"]
    assert row["clean"] == {"false_alarms": 0.5, "alarm_free": 0.5}
    assert row["certified"] == [
        {"false_alarms": 0.5, "alarm_free": 0.5},
        {"false_alarms": 1.5, "alarm_free": 0.0},
    ]
    assert summary["clean"]["alarm_free"] == 0.5
    assert [row["alarm_free"] for row in summary["certified"]] == [0.5, 0.0]
    assert math.isnan(summary["clean"]["detection"]), "no object is labeled"


def test_detection_rate_is_that_of_the_classes_that_matter():
    margins = torch.full((6, 6), -2.0)
    margins[:, 3:] = 1
    target = (margins < 0).long()
    target[5, 5] = 1  # missed
    query = RegionQuery(object_classes=(1,), min_pixels=1, vanish_share=1 / 18)
    entry = image_entry(two_classes(margins), target, [0.0, 1.9, 2.0], 1.0, regions=query)
    summary = dataset_summary([entry, entry])
    assert summary["clean"]["detection"] == 0.5
    assert [row["detection"] for row in summary["certified"]] == [0.5, 0.5, 0.0]
    assert [row["detected"] for row in summary["regions"]] == [[2, 0, 0], [2, 2, 0]]


def test_shared_prices_never_exceed_what_is_paid():
    costs, cells = np.array([4.0, 4.0, 9.0, np.inf]), np.array([7, 7, 2, 1])
    assert shared_prices(costs, cells).tolist() == [2.0, 2.0, 9.0, np.inf]
