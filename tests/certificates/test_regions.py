import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_lipcert.certificates import (
    change_curve,
    entry_costs,
    fabrication_radii,
    flip_costs,
    predicted_labels,
    vanishing_regions,
    worst_case,
)
from mmseg_lipcert.certificates.budget import prefix_sums, radius_of
from mmseg_lipcert.certificates.image_problem import ImageProblem

from .cases import IGNORE, cases


def scene():
    """Two objects of class 1 (one touches itself diagonally), one of class 2, void."""
    target = torch.tensor(
        [
            [1, 1, 0, 0, 0, 2],
            [1, 0, 0, 1, 0, 2],
            [0, 0, 1, 0, 0, 2],
            [255, 0, 0, 0, 0, 2],
        ]
    )
    logits = torch.zeros(3, 4, 6)
    logits.scatter_(0, target.masked_fill(target == 255, 0)[None], 1.0)
    return logits * torch.arange(1.0, 25.0).reshape(4, 6), target


def test_components_are_found_and_numbered():
    logits, target = scene()
    regions, numbers = vanishing_regions(logits, target, 1.0, classes=[1, 2])
    assert [(r.class_index, r.pixels, r.box) for r in regions] == [
        (1, 3, (0, 0, 2, 2)),
        (1, 2, (1, 2, 3, 4)),
        (2, 4, (0, 5, 4, 6)),
    ]
    assert [r.number for r in regions] == [1, 2, 3]
    for region in regions:
        assert (numbers == region.number).sum() == region.pixels
        assert (target[numbers == region.number] == region.class_index).all()
    assert (numbers[target == 0] == 0).all() and numbers[3, 0] == 0


def test_vanishing_takes_the_cheapest_pixels_of_the_share():
    logits, target = scene()
    # Class 2 has margins 6, 12, 18, 24.
    for share, squares in ((0.25, 36), (0.5, 180), (0.51, 504), (0.9, 1080), (1.0, 1080)):
        (region,), _ = vanishing_regions(logits, target, 2.0, share=share, classes=[2])
        assert region.budget == pytest.approx(math.sqrt(squares / 2))
        assert region.radius == pytest.approx(region.budget / 2)
        assert region.detected == 4


def test_missed_pixels_are_erased_for_free():
    logits, target = scene()
    logits[0, 2:, 5] = 100.0
    (region,), _ = vanishing_regions(logits, target, 1.0, share=0.5, classes=[2])
    assert (region.detected, region.budget, region.radius) == (2, 0.0, 0.0)
    (region,), _ = vanishing_regions(logits, target, 1.0, share=0.75, classes=[2])
    assert region.budget == pytest.approx(6 / math.sqrt(2))


def test_small_components_are_left_out():
    logits, target = scene()
    regions, numbers = vanishing_regions(logits, target, 1.0, min_pixels=3, classes=[1, 2])
    assert [(r.number, r.pixels) for r in regions] == [(1, 3), (2, 4)]
    assert set(numbers.unique().tolist()) == {0, 1, 2}


def test_share_of_pixels_is_not_rounded_up_by_an_ulp():
    logits, target = torch.zeros(2, 1, 10), torch.zeros(1, 10, dtype=torch.long)
    logits[0] = 1.0
    (region,), _ = vanishing_regions(logits, target, 1.0, share=0.7)
    assert region.budget == pytest.approx(math.sqrt(7 / 2))


@given(case=cases(max_pixels=7), share=st.floats(0.05, 1.0))
def test_no_cheaper_label_map_erases_the_share(case, share):
    regions, numbers = vanishing_regions(case.logits, case.target, case.lipschitz, share=share)
    for region in regions:
        inside = (numbers.flatten() == region.number).numpy()
        erased = (case.maps.maps[:, inside] != region.class_index).sum(1)
        vanished = erased >= share * region.pixels - 1e-9
        cheapest = math.sqrt(max(0.0, case.maps.cost[vanished].min()))
        assert region.budget == pytest.approx(cheapest, rel=1e-9, abs=1e-12)


@given(case=cases(max_pixels=7), data=st.data())
def test_no_cheaper_label_map_invents_the_pixels(case, data):
    c = data.draw(st.integers(0, case.num_classes - 1))
    amounts = list(range(1, case.target.numel() + 2))
    radii = fabrication_radii(case.logits, case.target, c, amounts, case.lipschitz).tolist()
    free = (case.target != IGNORE) & (case.target != c)
    free = free.flatten().numpy() & (case.maps.clean != c)
    invented = (case.maps.maps[:, free] == c).sum(1)
    for m, radius in zip(amounts, radii, strict=True):
        costs = case.maps.cost[invented >= m]
        cheapest = math.sqrt(costs.min()) / case.lipschitz if len(costs) else math.inf
        assert radius == pytest.approx(cheapest, rel=1e-9, abs=1e-12)


def test_fabrication_inside_a_mask():
    logits, target = scene()
    where = torch.zeros(4, 6, dtype=torch.bool)
    where[:2, 2:5] = True
    (one, many) = fabrication_radii(logits, target, 2, [1, 100], 1.0, where=where).tolist()
    allowed = where & (target != 2)
    assert one == pytest.approx(entry_costs(logits, 2)[allowed].min().item())
    assert many == math.inf


def test_curve_is_where_stability_falls():
    logits = torch.randn(4, 20, 30)
    target = torch.randint(0, 4, (20, 30))
    target[:5] = IGNORE
    shares = [0.001, 0.1, 0.25, 0.5, 1.0]
    radii = change_curve(logits, target, 3.0, shares)
    assert radii[0].item() == pytest.approx(flip_costs(logits)[5:].min().item() / 3)
    for share, radius in zip(shares, radii.tolist(), strict=True):
        around = [radius * (1 - 1e-9), radius * (1 + 1e-9)]
        below, above = worst_case(logits, target, "stability", around, 3.0).tolist()
        assert below > 1 - share - 1e-12 and above <= 1 - share + 1e-12


def test_weighted_curve_counts_image_pixels():
    logits = torch.tensor([[[1.0, 2.0, 3.0]], [[0.0, 0.0, 0.0]]]) * math.sqrt(2)
    target, weights = torch.zeros(1, 3, dtype=torch.long), torch.tensor([[1, 1, 2]])
    radii = change_curve(logits, target, 1.0, [0.25, 0.5, 1.0], weights=weights)
    assert radii.tolist() == pytest.approx([1.0, math.sqrt(5), math.sqrt(14)])


@pytest.mark.parametrize("kind", ["generic", "tied", "unreachable"])
def test_curve_of_a_large_image_sorts_no_more_than_it_needs_without_changing_a_bit(kind):
    logits = torch.randn(4, 150, 200)
    classifier = None
    if kind == "tied":
        logits = (2 * logits).round() / 2
    elif kind == "unreachable":
        logits, classifier = logits[:2], torch.randn(1, 8).expand(2, -1)
    target = torch.randint(0, 2, (150, 200))
    target[:10] = 255
    shares = [1e-4, 0.01, 0.25, 0.5, 1.0]
    found = change_curve(logits, target, 2.0, shares, classifier=classifier).tolist()
    costs = ImageProblem(logits, target, classifier=classifier).pixel_maps()[1][10:]
    spent = prefix_sums(np.sort(np.square(costs[np.isfinite(costs)])))
    items = [math.ceil(share * 140 * 200 - 1e-9) for share in shares]
    assert found == [radius_of(spent[m], 2.0) if m < len(spent) else math.inf for m in items]


def test_curve_without_valid_pixel_is_nan():
    void = torch.full((2, 2), IGNORE)
    assert change_curve(torch.randn(2, 2, 2), void, 1.0, [0.5]).isnan().all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z, t: vanishing_regions(z, t, 1.0, share=0), "share must be in .0, 1., got 0"),
        (lambda z, t: vanishing_regions(z, t, 1.0, classes=[9]), "got 9"),
        (lambda z, t: vanishing_regions(z, t + 7, 1.0), "label 7"),
        (lambda z, t: vanishing_regions(z, t, -1.0), "lipschitz"),
        (lambda z, t: vanishing_regions(z, t[:1], 1.0), "shape"),
        (lambda z, t: vanishing_regions(z, t.new_ones(3, 2, 2), 1.0), "shape"),
        (lambda z, t: fabrication_radii(z, t.new_ones(3, 2, 2), 0, [1], 1.0), "shape"),
        (lambda z, t: fabrication_radii(z, t, 0, [0], 1.0), "pixels must be >= 1, got 0"),
        (lambda z, t: fabrication_radii(z, t, 4, [1], 1.0), "got 4"),
        (lambda z, t: fabrication_radii(z, t, 0, [1], 1.0, where=t), "boolean map"),
        (lambda z, t: change_curve(z, t, 1.0, [1.5]), "shares must be in .0, 1., got 1.5"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.randn(3, 2, 2), torch.zeros(2, 2, dtype=torch.long))


def test_regions_are_plain_numbers():
    logits, target = scene()
    regions, numbers = vanishing_regions(logits, target, 1.0)
    assert numbers.dtype == torch.int64
    assert all(isinstance(v, (int, float)) for r in regions for v in (r.pixels, r.radius, *r.box))
    assert np.isfinite([r.radius for r in regions]).all()


@pytest.mark.parametrize("kind", ["smooth", "tied", "classifier", "binary", "where", "rare"])
def test_inventing_in_a_large_image_finds_the_cheapest_pixels(kind):
    logits = torch.randn(1 if kind == "binary" else 5, 150, 200)
    target = torch.randint(0, 2, (150, 200))
    options, mask = {}, torch.ones(150, 200, dtype=torch.bool)
    if kind == "tied":
        logits = logits.round()
    if kind == "classifier":
        options["classifier"] = torch.randn(5, 3)
        options["classifier"][4] = options["classifier"][1]
    if kind == "where":
        mask = torch.rand(150, 200) < 0.1
        options["where"] = mask
    if kind == "rare":  # the cheapest pixels lie between those that are sampled
        logits[1] -= 5
        logits[1, 70, 1:200:2] += 5
    costs = entry_costs(logits, 1, classifier=options.get("classifier"))
    free = mask & (target != 1) & (predicted_labels(logits) != 1)
    squares = costs[free].square().sort().values
    amounts = [1, 10, 1000, len(squares), len(squares) + 1]
    radii = fabrication_radii(logits, target, 1, amounts, 2.0, **options).tolist()
    for m, radius in zip(amounts, radii, strict=True):
        expected = squares[:m].sum().sqrt().item() / 2 if m <= len(squares) else math.inf
        assert radius == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_absent_and_ignored_classes_have_no_regions():
    logits, target = torch.randn(3, 4, 4), torch.zeros(4, 4, dtype=torch.long)
    regions, numbers = vanishing_regions(logits, target, 1.0)
    assert [r.class_index for r in regions] == [0] and (numbers == 1).all()
    assert vanishing_regions(logits, target, 1.0, classes=[1, 2])[0] == []
    regions, numbers = vanishing_regions(logits, target, 1.0, ignore_index=0)
    assert regions == [] and (numbers == 0).all()
