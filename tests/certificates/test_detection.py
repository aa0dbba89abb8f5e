"""Objects that stay found, against an independent detector and whatever moves its outputs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_lipcert.certificates.boxes import cover, label_boxes
from mmseg_lipcert.certificates.detection import DenseDetector, DetectionRule, outranking_cost

SIZE = (24, 40)
_MOVES = ((1, 1, 1, 1), (1, 0, -1, 0), (0, 1, 0, -1), (1, 1, 0, 0), (0, 0, 1, 0))


def iou(a, b):
    """Intersection over union of two boxes, by a division."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    first, second = ((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    union = first + second - width * height
    return width * height / union if union > 0 else 0.0


def reference_boxes(outputs, rule):
    """Kept (class, box): location by location, box by box."""
    outputs = np.asarray(outputs, dtype=float)
    kept = []
    for c in range(len(outputs) - 5):
        candidates = []
        for i, j in np.ndindex(*outputs.shape[1:]):
            logits, sides = outputs[:-4, i, j], 8.0 * np.exp(rule.side_gain * outputs[-4:, i, j])
            score = logits[c] - max(np.delete(logits, c))
            x, y = (j + 0.5) * rule.stride, (i + 0.5) * rule.stride
            box = (
                min(max(x - sides[0], 0), SIZE[1]),
                min(max(y - sides[1], 0), SIZE[0]),
                min(max(x + sides[2], 0), SIZE[1]),
                min(max(y + sides[3], 0), SIZE[0]),
            )
            ratios = np.log([sides[0] / sides[2], sides[1] / sides[3]])
            if score > rule.min_score and max(abs(ratios)) <= rule.max_skew:
                candidates.append((score, box))
        mine = []
        for _, box in sorted(candidates, key=lambda pair: -pair[0]):
            if all(iou(box, other) <= rule.nms_iou for other in mine):
                mine.append(box)
        kept += [(c, box) for box in mine]
    return kept


def is_found(outputs, rule, c, truth, least=0.5):
    return any(k == c and iou(box, truth) >= least for k, box in reference_boxes(outputs, rule))


def random_case(seed, classes=2, shape=(3, 5)):
    """Outputs in which some locations see one object, and the object."""
    rng = np.random.default_rng(seed)
    gain = rng.choice([1.0, 3.0])
    threshold, overlap, skew = (rng.choice(c) for c in ([0, 0.3], [0.3, 0.5, 0.7], [1, 2, np.inf]))
    rule = DetectionRule(8, 8.0, gain, threshold, overlap, skew)
    outputs = rng.normal(0, 0.4, (classes + 5, *shape))
    low = rng.uniform([0, 0], [16, 8])
    truth = np.concatenate((low, low + rng.uniform(8, 20, 2))).clip(0, [40, 24, 40, 24])
    x, y = np.meshgrid((np.arange(shape[1]) + 0.5) * 8, (np.arange(shape[0]) + 0.5) * 8)
    reach = np.stack((x - truth[0], y - truth[1], truth[2] - x, truth[3] - y))
    inside = reach.min(0) > 1
    noise = rng.choice([0.05, 0.2])
    outputs[-4:, inside] = np.log(reach[:, inside] / 8) + rng.normal(0, noise, (4, inside.sum()))
    outputs[-4:] /= gain
    outputs[0, inside] += rng.uniform(0.5, 2)
    return outputs, rule, truth


def attack_directions(outputs, rule, truth, rng):
    """Changes of the outputs that hurt: classes, boxes, rivals, and all of them at random."""
    flat = outputs.reshape(len(outputs), -1)
    locations = flat.shape[1]
    scores = flat[0] - flat[1:-4].max(0)
    fall = np.zeros((locations, *flat.shape))  # lowers the score of class 0 at one location
    squeeze = np.zeros_like(fall)  # makes its box smaller, larger, or moves it
    for n in range(locations):
        rival = 1 + np.argmax(flat[1:-4, n])
        fall[n, 0, n], fall[n, rival, n] = -1, 1
        squeeze[n, -4:, n] = rng.choice(np.array(_MOVES))
        squeeze[n] *= rng.choice([-1, 1])
    for _ in range(60):
        kind = rng.integers(6)
        chosen = rng.random(locations) < rng.choice([0.1, 0.3, 1.0])
        amounts = np.abs(rng.normal(1, 0.3, locations)) * chosen
        if kind == 0:
            yield np.tensordot(amounts, fall, 1)
        elif kind == 1:
            yield np.tensordot(amounts, squeeze, 1)
        elif kind == 2:
            either = np.where(rng.random((locations, 1, 1)) < 0.5, fall, squeeze)
            yield np.tensordot(amounts, either, 1)
        elif kind == 3:  # one location rises and leaves the object, another falls
            m, n = rng.integers(locations, size=2)
            yield fall[n] - fall[m] + rng.uniform(0, 2) * squeeze[m]
        elif kind == 4:  # one location rises, all that lie higher fall to it
            m = rng.integers(locations)
            rise = rng.uniform(0, 1) * (scores.max() - scores[m])
            yield np.tensordot((scores - scores[m] - rise).clip(0), fall, 1) - rise * fall[m]
        else:
            yield rng.normal(size=flat.shape)
    # Exactly what each good location needs to lose its class.
    need = (scores - rule.min_score).clip(0)
    yield np.tensordot(need, fall, 1)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_detections_are_those_of_a_slow_detector(seed):
    outputs, rule, _ = random_case(seed, classes=3)
    found = DenseDetector(torch.from_numpy(outputs), SIZE, rule).detections
    expected = reference_boxes(outputs, rule)
    assert found.classes.tolist() == [c for c, _ in expected]
    assert found.boxes == pytest.approx(np.array([b for _, b in expected]).reshape(-1, 4))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_nothing_within_the_radius_hides_the_object(seed, classes):
    outputs, rule, truth = random_case(seed, classes)
    detector = DenseDetector(torch.from_numpy(outputs), SIZE, rule)
    radius = detector.object_radius(0, truth, 2.0) * 2.0  # in outputs
    if radius > 0:
        assert is_found(outputs, rule, 0, truth)
    rng = np.random.default_rng(seed)
    for change in attack_directions(outputs, rule, truth, rng):
        change = change.reshape(outputs.shape)
        if radius == 0 or not change.any():
            continue
        change = change / np.linalg.norm(change)
        for share in (1 - 1e-9, 0.7):
            assert is_found(outputs + share * radius * change, rule, 0, truth)


def test_radii_are_positive_and_not_far_from_what_attacks_reach():
    ratios = []
    for seed in range(16):
        outputs, rule, truth = random_case(seed, 1, (2, 5))
        detector = DenseDetector(torch.from_numpy(outputs), SIZE, rule)
        radius = detector.object_radius(0, truth, 1.0)
        if not is_found(outputs, rule, 0, truth):
            assert radius == 0
            continue
        norms = [np.inf]
        for change in attack_directions(outputs, rule, truth, np.random.default_rng(seed)):
            change = change.reshape(outputs.shape)
            change = change / max(np.linalg.norm(change), 1e-9)
            for norm in np.geomspace(0.02, 5, 20):
                if not is_found(outputs + norm * change, rule, 0, truth):
                    norms.append(norm)
                    break
        ratios.append(radius / min(norms))
    assert len(ratios) > 5
    assert max(ratios) <= 1
    assert np.median(ratios) > 0.15


def one_location(logits, sides, **kwargs):
    outputs = torch.tensor([*logits, *np.log(np.array(sides) / 8)], dtype=torch.float64)
    return DenseDetector(outputs[:, None, None], (64, 64), DetectionRule(64, 8.0, **kwargs))


@pytest.mark.parametrize("threshold", [0.0, 0.25])
def test_a_single_sure_box_is_lost_when_its_class_is(threshold):
    detector = one_location([0.4, 0.0, -5.0], (16, 16, 16, 16), min_score=threshold)
    expected = (0.4 - threshold) / math.sqrt(2) / 3
    assert detector.object_radius(0, [16, 16, 48, 48], 3.0) == pytest.approx(expected)
    assert detector.object_radius(1, [16, 16, 48, 48], 3.0) == 0


def test_a_single_sure_class_is_lost_when_its_box_is():
    detector = one_location([50.0, 0.0], (16, 16, 16, 16))
    found = detector.object_radius(0, [16, 16, 48, 48], 1.0)
    # All sides shrunk alike keep IoU >= 1/2 up to a factor of sqrt(1/2), at a norm of log 2.
    assert 0.6 * math.log(2) < found <= math.log(2) + 1e-6


def test_a_box_that_gets_too_skew_is_lost():
    detector = one_location([50.0, 0.0], (16, 16, 16, 16), max_skew=0.1)
    # Two opposite outputs move by 0.05 each.
    assert detector.object_radius(0, [16, 16, 48, 48], 1.0) == pytest.approx(0.1 / math.sqrt(2))
    skew = one_location([50.0, 0.0], (16, 16, 12, 16), max_skew=0.1)
    assert len(skew.detections.boxes) == 0
    assert skew.object_radius(0, [16, 16, 48, 48], 1.0) == 0


def test_prices_of_locations_add_up_in_squares():
    outputs = torch.full((6, 1, 2), math.log(2), dtype=torch.float64)
    outputs[0], outputs[1] = 0.2, 0.0
    outputs[2:, 0, 0] = torch.log(torch.tensor([8.0, 16, 24, 16]) / 8)  # the same box
    outputs[2:, 0, 1] = torch.log(torch.tensor([24.0, 16, 8, 16]) / 8)
    detector = DenseDetector(outputs, (32, 32), DetectionRule(16, 8.0))
    truth = [0.0, 0.0, 32.0, 24.0]
    assert detector.boxes() == pytest.approx(np.array([truth] * 2), rel=1e-6)
    alone = 0.2 / math.sqrt(2)
    assert detector.object_radius(0, truth, 1.0) == pytest.approx(math.sqrt(2) * alone)


def rivals(score, iou_with_truth, **kwargs):
    """A location that finds the object, and one of a box that overlaps it but does not fit."""
    outputs = torch.zeros(6, 1, 2, dtype=torch.float64)
    outputs[0] = torch.tensor([0.5, score])
    left = 32 - 48 * iou_with_truth
    outputs[2:, 0, 0] = torch.log(torch.tensor([16.0, 16, 16, 16]) / 8)
    outputs[2:, 0, 1] = torch.log(torch.tensor([48.0 - left, 16, 1e-9, 16]) / 8)
    detector = DenseDetector(outputs, (32, 64), DetectionRule(32, 8.0, **kwargs))
    return detector, detector.boxes()[0]


def test_a_rival_that_does_not_fit_must_be_outranked():
    detector, truth = rivals(0.3, 0.4, nms_iou=0.3)
    # The rival would have to gain 0.2 on the location that fits: both move, together by 0.1.
    assert detector.object_radius(0, truth, 1.0) == pytest.approx(0.1, rel=1e-5)
    above, truth = rivals(0.5, 0.4, nms_iou=0.3)  # a tie
    assert above.object_radius(0, truth, 1.0) == 0
    apart, truth = rivals(0.5, 0.1, nms_iou=0.7)
    assert apart.object_radius(0, truth, 1.0) > 0.2
    # Far too skew a box: its owner is no rival.
    skew, truth = rivals(0.5, 0.4, nms_iou=0.3, max_skew=4.0)
    assert skew.object_radius(0, truth, 1.0) == pytest.approx(0.5 / math.sqrt(2))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_outranking_costs_what_a_fine_grid_finds(seed):
    rng = np.random.default_rng(seed)
    gaps = rng.normal(0.5, 1, rng.integers(0, 6)).round(rng.choice([1, 9]))
    gaps[rng.random(len(gaps)) < 0.2] = np.inf
    prices = rng.uniform(0, 1, len(gaps)) ** 2
    rises = np.linspace(0, 4, 20001)[:, None]
    falls = (gaps - rises).clip(0) ** 2 / 2
    grid = (rises[:, 0] ** 2 / 2 + np.minimum(prices, falls).sum(1)).min()
    found = outranking_cost(gaps, prices)
    assert grid * (1 - 1e-3) - 1e-9 <= found <= grid * (1 + 1e-12)


def test_a_rival_must_outrank_all_good_locations():
    outputs = torch.zeros(6, 1, 3, dtype=torch.float64)
    outputs[0] = torch.tensor([0.5, 0.5, 0.3])
    boxes = [(16.0, 16.0), (48.0, 1e-3), (67.2, 1e-3)]  # from 0 to 32, 0 to 48 and 12.8 to 80
    for n, (left, right) in enumerate(boxes):
        outputs[2:, 0, n] = torch.log(torch.tensor([left, 16, right, 16]) / 8)
    detector = DenseDetector(outputs, (32, 96), DetectionRule(32, 8.0, nms_iou=0.2))
    # The rival rises by t and both others fall by 0.2 - t: t^2 + 2 (0.2 - t)^2 is least at 0.4 / 3.
    expected = math.sqrt(0.04 / 3)
    assert detector.object_radius(0, [0, 0, 32, 32], 1.0) == pytest.approx(expected, rel=1e-5)


def test_the_cover_covers_the_ball():
    levels, points = cover()
    corners = levels[points]
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(3000, 4)) * rng.choice([1, 1e-3], (3000, 4))
    ball[:500, :2] = 0
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    low, high = np.minimum(corners, 0), np.maximum(corners, 0)
    for u in ball:
        assert ((low <= u) & (u <= high)).all(1).any()
    assert np.linalg.norm(corners, axis=1).max() < 1.25


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_box_fits_throughout_its_norm_and_not_much_further(seed):
    rng = np.random.default_rng(seed)
    sides = rng.uniform(2, 30, 4)
    detector = one_location([1.0, 0.0], sides)
    box = detector.boxes()[0]
    truth = box + rng.uniform(-0.15, 0.15, 4) * np.tile(box[2:] - box[:2], 2)
    least = rng.choice([0.5, 0.7])
    norm = detector.fit_norms(np.array([0]), truth, least)[0]
    directions = rng.normal(size=(3000, 4))
    directions[:160] = rng.choice([-1, 0, 1], (160, 4)) + 1e-12
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)

    def worst(radius):
        moved = detector.edges(detector.sides + radius * directions, detector.points)
        return min(iou(one, truth) for one in moved)

    if norm == 0:
        assert iou(box, truth) <= least + 1e-6
        return
    assert min(worst(share * norm) for share in (1.0, 0.8, 0.4)) >= least
    if norm < 7:
        assert worst(1.35 * norm + 1e-6) < least


def test_boxes_end_at_the_border_which_costs_nothing():
    outside = one_location([9.0, 0.0], (1e4, 1e4, 16, 16))
    assert outside.boxes().tolist() == [[0, 0, 48, 48]]
    inside = one_location([9.0, 0.0], (32, 32, 16, 16))
    radii = [d.object_radius(0, [0, 0, 48, 48], 1.0) for d in (outside, inside)]
    assert radii[0] > radii[1] > 0


def test_label_boxes_are_those_of_large_components():
    labels = np.full((10, 12), 7)
    labels[1:4, 2:6], labels[4, 6] = 3, 3  # touches by a corner
    labels[6:9, 0:2] = 5
    labels[0, 11] = 5
    kinds, boxes, numbers = label_boxes(labels, [5, 3], 4)
    assert kinds.tolist() == [0, 1]
    assert boxes.tolist() == [[0, 6, 2, 9], [2, 1, 7, 5]]
    assert numbers.max() == 2 and numbers[4, 6] == 2 and numbers[0, 11] == 0
    assert label_boxes(labels, [4], 1)[1].shape == (0, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(stride=0), "stride"),
        (dict(base_side=math.inf), "base_side"),
        (dict(min_score=-0.1), "min_score"),
        (dict(nms_iou=0.0), "nms_iou"),
        (dict(max_skew=math.nan), "max_skew"),
    ],
)
def test_rules_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        DetectionRule(**{"stride": 8, **change})


def test_bad_input_is_refused():
    detector = one_location([1.0, 0.0], (8, 8, 8, 8))
    with pytest.raises(ValueError, match="K \\+ 5"):
        DenseDetector(torch.zeros(5, 2, 2), SIZE, DetectionRule(8))
    with pytest.raises(ValueError, match="NaN"):
        DenseDetector(torch.full((6, 2, 2), math.nan), SIZE, DetectionRule(8))
    with pytest.raises(ValueError, match="class_index"):
        detector.object_radius(1, [0, 0, 9, 9], 1.0)
    with pytest.raises(ValueError, match="left, top"):
        detector.object_radius(0, [9, 9, 9, 9], 1.0)
    with pytest.raises(ValueError, match="iou"):
        detector.object_radius(0, [0, 0, 9, 9], 1.0, iou=0)
    with pytest.raises(ValueError, match="lipschitz"):
        detector.object_radius(0, [0, 0, 9, 9], 0.0)
