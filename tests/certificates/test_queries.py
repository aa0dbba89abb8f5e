import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_lipcert.certificates import (
    QUERIES,
    change_curve,
    robustness_radius,
    worst_case,
)

from .cases import IGNORE, MOST_PIXELS, attack_sizes, cases, logit_maps, targets, thresholds
from .reference import LabelMaps, divide, same

SINGLE = ("pixel_accuracy", "stability", "recall", "specificity", "iou", "dice")
PER_CLASS = ("recall", "specificity", "iou", "dice")
MEANS = {"mAcc": "recall", "mIoU": "iou", "mDice": "dice", "mSpecificity": "specificity"}


def pick_class(data, metric, num_classes):
    return data.draw(st.integers(0, num_classes - 1)) if metric in PER_CLASS else None


@given(data=st.data(), case=cases(), metric=st.sampled_from(SINGLE))
def test_worst_case_is_the_minimum_over_all_label_maps(data, case, metric):
    c = pick_class(data, metric, case.num_classes)
    eps = [data.draw(attack_sizes(case)) for _ in range(2)]
    found = worst_case(case.logits, case.target, metric, eps, case.lipschitz, class_index=c)
    for norm, value in zip(eps, found.tolist(), strict=True):
        expected = case.maps.worst(metric, c, case.maps.budget(norm, case.lipschitz))
        assert same(value, expected), (norm, value, expected)


@given(data=st.data(), case=cases(), metric=st.sampled_from(SINGLE))
def test_radius_is_the_cheapest_label_map_below_the_threshold(data, case, metric):
    c = pick_class(data, metric, case.num_classes)
    threshold = data.draw(thresholds(case.maps.values(metric, c)))
    found = robustness_radius(
        case.logits, case.target, metric, threshold, case.lipschitz, class_index=c
    )
    expected = case.maps.radius(metric, c, threshold) / case.lipschitz
    assert same(found, expected, 1e-9), (threshold, found, expected)


@given(data=st.data(), case=cases(), metric=st.sampled_from(sorted(MEANS)))
def test_means_average_the_classes_minima_and_bound_every_label_map(data, case, metric):
    eps = data.draw(attack_sizes(case))
    (found,) = worst_case(case.logits, case.target, metric, eps, case.lipschitz).tolist()
    budget = case.maps.budget(eps, case.lipschitz)
    classes = range(case.num_classes)
    minima = [case.maps.worst(MEANS[metric], c, budget) for c in classes]
    defined = [v for v in minima if not math.isnan(v)]
    assert same(found, np.mean(defined) if defined else math.nan)
    if defined:
        # What MMSegmentation reports on each reachable map: the mean over the classes in it.
        table = np.array([case.maps.values(MEANS[metric], c) for c in classes])
        table = table[:, case.maps.cost <= budget]
        means = divide(np.nansum(table, axis=0), (~np.isnan(table)).sum(0))
        assert found <= means.min() + 1e-12
        if eps == 0:
            assert same(found, means.item())


@given(data=st.data(), case=cases(max_pixels=5), metric=st.sampled_from(QUERIES))
def test_radius_and_worst_case_are_inverse(data, case, metric):
    c = pick_class(data, metric, case.num_classes)
    arguments = (case.logits, case.target, metric)
    threshold = data.draw(st.floats(0.01, 1.0))
    if data.draw(st.booleans()):
        eps = data.draw(attack_sizes(case))
        (level,) = worst_case(*arguments, eps, case.lipschitz, class_index=c).tolist()
        threshold = level if level > 0 else threshold
    radius = robustness_radius(*arguments, threshold, case.lipschitz, class_index=c)
    (clean,) = worst_case(*arguments, 0, case.lipschitz, class_index=c).tolist()
    if math.isnan(radius):
        assert math.isnan(clean)
    elif clean < threshold:
        assert radius == 0
    elif math.isinf(radius):
        assert worst_case(*arguments, 1e6, case.lipschitz, class_index=c).item() >= threshold
    else:
        around = [radius * (1 - 1e-9), radius * (1 + 1e-9) + 1e-300]
        below, above = worst_case(*arguments, around, case.lipschitz, class_index=c).tolist()
        assert below >= threshold > above


@given(data=st.data(), case=cases(max_pixels=6), metric=st.sampled_from(QUERIES))
def test_no_order_of_pixels_matters_and_more_attack_never_helps(data, case, metric):
    c = pick_class(data, metric, case.num_classes)
    eps = sorted(data.draw(attack_sizes(case)) for _ in range(4))
    values = worst_case(case.logits, case.target, metric, eps, case.lipschitz, class_index=c)
    order = data.draw(st.permutations(range(case.target.numel())))
    moved = worst_case(
        case.logits[..., order], case.target[..., order], metric, eps, case.lipschitz, class_index=c
    )
    assert torch.allclose(values, moved, rtol=0, atol=0, equal_nan=True)
    weaker = worst_case(case.logits, case.target, metric, eps, 2 * case.lipschitz, class_index=c)
    # NaN only ever becomes 0: as 1 it keeps its place in the order.
    assert (values.nan_to_num(1.0).diff() <= 0).all()
    assert (weaker.nan_to_num(1.0) <= values.nan_to_num(1.0)).all()


@st.composite
def weighted_cases(draw):
    """Tiny images whose pixels stand for several image pixels, none of a label, or mixed ones."""
    size = draw(st.integers(2, 3))
    pixels = draw(st.integers(1, MOST_PIXELS[size] - 1))
    logits = draw(logit_maps(size, pixels))
    target = draw(targets(size, pixels))
    counts = st.lists(st.integers(0, 5), min_size=pixels, max_size=pixels)
    weights = torch.tensor(draw(counts)).reshape(1, pixels)
    mixed = torch.tensor([draw(counts) for _ in range(size)]).reshape(size, 1, pixels)
    return logits, target, weights, mixed


@given(data=st.data(), case=weighted_cases(), metric=st.sampled_from(SINGLE))
def test_weighted_pixels_are_sound_and_within_one_item_of_the_exact_knapsack(data, case, metric):
    logits, target, weights, _ = case
    classes = logits.shape[0]
    c = pick_class(data, metric, classes)
    labels = target.flatten().numpy()
    counts = (labels[None] == np.arange(classes)[:, None]) * weights.flatten().numpy()
    maps = LabelMaps(logits.flatten(1).numpy(), counts)
    eps = data.draw(st.sampled_from([0.0, 0.1, 0.4, 1.0, 2.0, 20.0]))
    (found,) = worst_case(logits, target, metric, eps, 1.0, class_index=c, weights=weights).tolist()
    exact = maps.worst(metric, c, maps.budget(eps, 1.0))
    if math.isnan(exact):
        assert math.isnan(found)
        return
    assert found <= exact + 1e-12
    # One item more or less of either group moves the metric by at most this.
    clean = maps.cost < 0
    if metric in ("iou", "dice"):
        hit, gt_area, pred_area = (
            np.broadcast_to(v, clean.shape)[clean].item() for v in maps.terms(c)
        )
        area = gt_area + pred_area
        area = area - hit if metric == "iou" else area / 4
    else:
        area = {"recall": counts[c or 0].sum(), "specificity": counts.sum() - counts[c or 0].sum()}
        area = area.get(metric, counts.sum())
    if area:
        assert exact <= found + weights.max().item() / area + 1e-12


@given(data=st.data(), case=weighted_cases(), metric=st.sampled_from(QUERIES))
def test_mixed_cells_are_sound(data, case, metric):
    logits, _, _, mixed = case
    classes = logits.shape[0]
    c = pick_class(data, metric, classes)
    maps = LabelMaps(logits.flatten(1).numpy(), mixed.flatten(1).numpy())
    eps = data.draw(st.sampled_from([0.0, 0.1, 0.4, 1.0, 2.0, 20.0]))
    (found,) = worst_case(logits, mixed, metric, eps, 1.0, class_index=c).tolist()
    budget = maps.budget(eps, 1.0)
    if metric in MEANS:
        table = np.array([maps.values(MEANS[metric], k) for k in range(classes)])
        table = table[:, maps.cost <= budget]
        values = divide(np.nansum(table, axis=0), (~np.isnan(table)).sum(0))
        exact = np.nan if np.isnan(values).all() else np.nanmin(values)
    else:
        exact = maps.worst(metric, c, budget)
    if math.isnan(exact):
        assert math.isnan(found)
    else:
        assert found <= exact + 1e-12
    if eps == 0:
        assert same(found, exact)


@given(data=st.data(), case=weighted_cases(), metric=st.sampled_from(QUERIES))
def test_weighted_radius_and_worst_case_are_inverse(data, case, metric):
    logits, target, weights, mixed = case
    c = pick_class(data, metric, logits.shape[0])
    if data.draw(st.booleans()):
        options = {"class_index": c, "weights": weights}
    else:
        target, options = mixed, {"class_index": c}
    threshold = data.draw(st.floats(0.01, 1.0))
    radius = robustness_radius(logits, target, metric, threshold, 1.0, **options)
    (clean,) = worst_case(logits, target, metric, 0, 1.0, **options).tolist()
    if math.isnan(radius):
        assert math.isnan(clean)
    elif clean < threshold:
        assert radius == 0
    elif math.isinf(radius):
        assert worst_case(logits, target, metric, 1e6, 1.0, **options).item() >= threshold
    else:
        around = [radius * (1 - 1e-6), radius * (1 + 1e-6) + 1e-9]
        below, above = worst_case(logits, target, metric, around, 1.0, **options).tolist()
        assert below >= threshold - 1e-9
        assert above < threshold + 1e-9


@given(data=st.data(), case=cases(max_pixels=6), metric=st.sampled_from(QUERIES))
def test_equal_weights_and_one_hot_counts_change_nothing(data, case, metric):
    c = pick_class(data, metric, case.num_classes)
    eps = [data.draw(attack_sizes(case)) for _ in range(3)]
    plain = worst_case(case.logits, case.target, metric, eps, case.lipschitz, class_index=c)
    weights = torch.full(case.target.shape, 2.25)
    weighted = worst_case(
        case.logits, case.target, metric, eps, case.lipschitz, class_index=c, weights=weights
    )
    classes = torch.arange(case.num_classes)[:, None, None]
    counts = (case.target == classes).long()
    counted = worst_case(case.logits, counts, metric, eps, case.lipschitz, class_index=c)
    # Sums of fractional weights are rounded for the attacker, by 1e-11 of them.
    torch.testing.assert_close(weighted, plain, rtol=0, atol=2e-11, equal_nan=True)
    torch.testing.assert_close(counted, plain, rtol=0, atol=1e-12, equal_nan=True)


def test_ignored_pixels_change_nothing():
    logits = torch.randn(3, 4, 5)
    target = torch.randint(0, 3, (4, 5))
    wide = torch.cat([logits, torch.randn(3, 4, 2)], dim=2)
    padded = torch.cat([target, torch.full((4, 2), IGNORE)], dim=1)
    for metric in QUERIES:
        c = 1 if metric in PER_CLASS else None
        eps = [0, 0.1, 0.5, 2]
        plain = worst_case(logits, target, metric, eps, 1.0, class_index=c)
        assert torch.equal(plain, worst_case(wide, padded, metric, eps, 1.0, class_index=c))


@pytest.mark.parametrize("metric", QUERIES)
def test_an_image_without_valid_pixel_has_no_value(metric):
    c = 0 if metric in PER_CLASS else None
    logits, target = torch.randn(2, 2, 2), torch.full((2, 2), IGNORE)
    values = worst_case(logits, target, metric, [0, 1, 10], 1.0, class_index=c)
    assert values.isnan().all()
    assert math.isnan(robustness_radius(logits, target, metric, 0.5, 1.0, class_index=c))


def test_a_class_that_can_be_created_enters_the_mean():
    # Class 2 is neither there nor predicted; entering it costs 1 / sqrt(2).
    logits = torch.tensor([[[9.0, 1.0]], [[0.0, 0.0]], [[0.0, 0.0]]])
    target = torch.tensor([[0, 0]])
    iou = worst_case(logits, target, "iou", [0, 0.7, 0.71], 1.0, class_index=2)
    assert iou[:2].isnan().all() and iou[2] == 0
    miou = worst_case(logits, target, "mIoU", [0, 0.7, 0.71], 1.0)
    torch.testing.assert_close(miou, torch.tensor([1.0, 1.0, 0.5 / 3], dtype=torch.float64))


def test_ties_fall_at_any_positive_eps_but_not_at_zero():
    logits, target = torch.zeros(2, 1, 3), torch.zeros(1, 3, dtype=torch.long)
    values = worst_case(logits, target, "pixel_accuracy", [0, 1e-12], 1.0)
    assert values.tolist() == [1.0, 0.0]
    assert robustness_radius(logits, target, "pixel_accuracy", 0.5, 1.0) == 0.0


def test_only_what_a_budget_reaches_is_selected_without_changing_the_answer(monkeypatch):
    logits = torch.randn(5, 150, 200)
    target = torch.where(torch.rand(150, 200) < 0.7, logits.argmax(0), 3)
    weights = torch.randint(0, 5, (150, 200))
    classifier = torch.randn(5, 8)
    queries = [
        (metric, 2 if metric in PER_CLASS else None, options)
        for metric in QUERIES
        for options in ({}, {"weights": weights}, {"classifier": classifier})
    ]
    eps = [0.0, 0.3, 2.0, 30.0]

    def answers():
        return [
            worst_case(logits, target, m, eps, 1.0, class_index=c, **options).tolist()
            for m, c, options in queries
        ]

    selected = answers()
    monkeypatch.setattr("mmseg_lipcert.certificates.reachable._DIRECT", 10**9)
    for ours, full in zip(selected, answers(), strict=True):
        assert ours == pytest.approx(full, abs=1e-12)


def test_the_memory_layout_of_the_logits_changes_no_bit():
    logits = torch.randn(5, 150, 200)
    target = torch.where(torch.rand(150, 200) < 0.7, logits.argmax(0), 255)
    together = logits[None].to(memory_format=torch.channels_last)[0]
    for metric in QUERIES:
        c = 2 if metric in PER_CLASS else None
        found = [
            worst_case(z, target, metric, [0.0, 0.3, 30.0], 1.0, class_index=c)
            for z in (logits, together)
        ]
        assert torch.equal(*found)


@pytest.mark.parametrize("classes", [3, 200, 300])
def test_labels_of_any_integer_type_are_read_and_left_alone(classes):
    logits = torch.randn(classes, 40, 50)
    target = torch.where(torch.rand(40, 50) < 0.5, logits.argmax(0), classes - 1)
    target[0] = 7000
    expected = (logits.argmax(0) == target)[1:].float().mean().double()
    for dtype in (torch.int16, torch.int32, torch.int64):
        labels = target.to(dtype)
        value = worst_case(logits, labels, "pixel_accuracy", 0, 1.0, ignore_index=7000)
        assert value.item() == pytest.approx(expected.item())
        assert torch.equal(labels, target.to(dtype))


def test_labels_in_a_byte_are_left_alone():
    target = torch.tensor([[0, 255, 1]], dtype=torch.uint8)
    worst_case(torch.randn(2, 1, 3), target, "pixel_accuracy", 0.1, 1.0)
    assert target.tolist() == [[0, 255, 1]]


def test_bad_samples_only_cost_time(monkeypatch):
    logits = torch.randn(4, 40, 60)
    target = logits.argmax(0)
    expected = worst_case(logits, target, "iou", [0.5, 4.0], 1.0, class_index=1)
    monkeypatch.setattr("mmseg_lipcert.certificates.reachable._DIRECT", 10)
    monkeypatch.setattr(
        "mmseg_lipcert.certificates.reachable._first_guess", lambda *arguments: 1e-9
    )
    assert torch.equal(worst_case(logits, target, "iou", [0.5, 4.0], 1.0, class_index=1), expected)


def test_single_eps_gives_one_value_in_float64():
    value = worst_case(torch.randn(2, 3, 3), torch.zeros(3, 3, dtype=torch.long), "stability", 1, 1)
    assert value.shape == (1,) and value.dtype == torch.float64


def test_unreachable_classes_make_infinite_radii():
    # Both rows are equal: no change of the features changes the label.
    logits, target = torch.tensor([[[2.0]], [[1.0]]]), torch.tensor([[0]])
    twins = torch.ones(2, 3)
    for metric, c in itertools.product(QUERIES, [0]):
        index = c if metric in PER_CLASS else None
        options = {"class_index": index, "classifier": twins}
        radius = robustness_radius(logits, target, metric, 0.5, 1.0, **options)
        assert math.isinf(radius) or (metric == "specificity" and math.isnan(radius))
        assert worst_case(logits, target, metric, 1e9, 1.0, **options).item() != 0


BAD = [
    (dict(eps=-0.1), "eps must be finite and >= 0, got -0.1"),
    (dict(eps=[0.1, math.nan]), "eps .* got nan"),
    (dict(eps=math.inf), "eps .* got inf"),
    (dict(eps=[]), "at least one"),
    (dict(lipschitz=0), "lipschitz must be finite and > 0, got 0"),
    (dict(lipschitz=math.nan), "lipschitz .* got nan"),
    (dict(metric="mse"), "unknown metric 'mse'"),
    (dict(metric="iou"), "iou needs class_index"),
    (dict(metric="iou", class_index=3), "class_index must be in .0, 3., got 3"),
    (dict(metric="iou", class_index=-1), "got -1"),
    (dict(metric="iou", class_index=0.5), "integer, got 0.5"),
    (dict(class_index=1), "pixel_accuracy is not per class"),
    (dict(target=torch.tensor([[0, 7]])), "label 7"),
    (dict(target=torch.tensor([[0, -1]])), "label -1"),
    (dict(target=torch.tensor([[0, 1, 2]])), r"shape \(1, 3\)"),
    (dict(target=torch.tensor([[0.0, 1.0]])), "integers"),
    (dict(target=torch.zeros(2, 1, 2, dtype=torch.long)), r"shape \(2, 1, 2\)"),
    (dict(target=-torch.ones(3, 1, 2, dtype=torch.long)), "counts must be >= 0"),
    (dict(logits=torch.full((3, 1, 2), math.nan)), "NaN"),
    (dict(logits=torch.full((3, 1, 2), math.inf)), "NaN or infinite"),
    (dict(logits=torch.zeros(3, 2)), r"\(K, H, W\)"),
    (dict(logits=torch.zeros(3, 1, 2, dtype=torch.long)), "floating point"),
    (dict(logits=torch.zeros(3, 0, 2)), "no value"),
    (dict(weights=torch.ones(1, 3)), "weights have shape"),
    (dict(weights=torch.tensor([[1.0, -1.0]])), "weights must be finite and >= 0"),
    (dict(weights=torch.ones(1, 2), target=torch.ones(3, 1, 2, dtype=torch.long)), "combined"),
    (dict(classifier=torch.ones(2, 4)), r"shape \(3, C\)"),
    (dict(classifier=torch.full((3, 4), math.nan)), "classifier contains NaN"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_named(change, message):
    good = dict(
        logits=torch.randn(3, 1, 2),
        target=torch.tensor([[0, 1]]),
        metric="pixel_accuracy",
        eps=0.1,
        lipschitz=1.0,
    )
    with pytest.raises(ValueError, match=message):
        worst_case(**{**good, **change})
    if "eps" not in change:
        rest = {k: v for k, v in {**good, **change}.items() if k != "eps"}
        with pytest.raises(ValueError, match=message):
            robustness_radius(threshold=0.5, **rest)


def test_threshold_must_be_a_number():
    with pytest.raises(ValueError, match="threshold must be finite, got nan"):
        robustness_radius(torch.randn(2, 1, 1), torch.tensor([[0]]), "stability", math.nan, 1.0)


@pytest.mark.parametrize("threshold", [0.01, 0.02, 0.03, 0.07, 0.1, 0.3])
def test_rounding_does_not_hide_the_cheapest_fractional_attack(threshold):
    # The true positives of one cell of mixed labels, and no true negative to help them.
    logits = torch.zeros(3, 1, 3, dtype=torch.float64)
    logits[0, 0, 2] = 0.5
    counts = torch.tensor([[[0, 1, 4]], [[0, 0, 0]], [[0, 1, 5]]])
    radius = robustness_radius(logits, counts, "iou", threshold, 1.0, class_index=0)
    left = 11 * threshold / 4  # of the four pixels that cost 0.5 / sqrt(2) together
    assert radius == pytest.approx(math.sqrt((1 - left) / 8), rel=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_everything_can_be_lost_whatever_the_weights(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 1, 6, generator=generator)
    target = torch.randint(0, 3, (1, 6), generator=generator)
    weights = torch.rand(1, 6, generator=generator, dtype=torch.float64)
    assert change_curve(logits, target, 1.0, [1.0], weights=weights).isfinite().all()
    for metric, index in (
        ("pixel_accuracy", None),
        ("stability", None),
        ("recall", 0),
        ("specificity", 0),
    ):
        options = dict(weights=weights, class_index=index)
        left = worst_case(logits, target, metric, 1e6, 1.0, **options)
        assert left.isnan() or left == 0
        if not left.isnan():
            assert robustness_radius(logits, target, metric, 1e-16, 1.0, **options) < 1e6
