import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from mmseg_lipcert.certificates import entry_costs, flip_costs, predicted_labels, worst_case
from mmseg_lipcert.certificates.margins import cone_distances, half_gaps, predict_with_costs

from .cases import cases, logit_maps
from .reference import entry_cost


def pixels(logits):
    """Columns of a logit map as float64 vectors."""
    return logits.flatten(1).double().numpy().T


@given(st.integers(2, 6).flatmap(lambda k: logit_maps(k, 4)), st.data())
def test_entry_cost_is_the_projection_found_by_trying_every_active_set(logits, data):
    c = data.draw(st.integers(0, logits.shape[0] - 1))
    expected = [entry_cost(z, c) for z in pixels(logits)]
    assert entry_costs(logits, c)[0].tolist() == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("classes", [2, 3, 7, 19])
def test_entry_cost_agrees_with_a_general_solver(classes):
    logits = torch.randn(classes, 1, 8, dtype=torch.float64)
    c = classes // 2
    found = entry_costs(logits, c)[0].tolist()
    for z, cost in zip(pixels(logits), found, strict=True):
        constraint = np.eye(classes)[c] - np.delete(np.eye(classes), c, axis=0)
        solution = minimize(
            lambda a: (a @ a) / 2,
            np.where(np.arange(classes) == c, z.max() - z[c], 0.0),
            jac=lambda a: a,
            constraints={
                "type": "ineq",
                "fun": lambda a, m=constraint, z=z: m @ (z + a),
                "jac": lambda a, m=constraint: m,
            },
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert math.sqrt(2 * solution.fun) == pytest.approx(cost, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("norm", [1, math.inf])
def test_other_norms_agree_with_linear_programming(norm):
    logits = torch.randn(5, 1, 10, dtype=torch.float64)
    others = [0, 1, 3, 4]
    for w, z in enumerate(pixels(logits)):
        # Variables: the change a (5) and bounds u >= |a|, one per logit (p = 1) or one in all.
        size = 5 if norm == 1 else 1
        spread = np.eye(5) if norm == 1 else np.ones((5, 1))
        rows = np.zeros((4, 5))
        rows[np.arange(4), others], rows[:, 2] = 1, -1
        solution = linprog(
            np.r_[np.zeros(5), np.ones(size)],
            A_ub=np.block(
                [[np.eye(5), -spread], [-np.eye(5), -spread], [rows, np.zeros((4, size))]]
            ),
            b_ub=np.r_[np.zeros(10), z[2] - z[others]],
            bounds=(None, None),
        )
        assert entry_costs(logits, 2, norm)[0, w].item() == pytest.approx(solution.fun, abs=1e-9)


@given(case=cases(), norm=st.sampled_from([1, 2, math.inf]))
def test_flip_cost_is_the_cheapest_entry_into_another_class(case, norm):
    label = predicted_labels(case.logits)
    entries = torch.stack([entry_costs(case.logits, c, norm) for c in range(case.num_classes)])
    own = entries.gather(0, label[None])[0]
    assert (own == 0).all()
    entries.scatter_(0, label[None], math.inf)
    flips = flip_costs(case.logits, norm)
    torch.testing.assert_close(entries.amin(0), flips, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("norm", "expected"), [(1, 2.0), (2, math.sqrt(2)), (math.inf, 1.0)])
def test_flip_cost_formula(norm, expected):
    logits = torch.tensor([3.0, 1.0, 0.5])[:, None, None]
    assert flip_costs(logits, norm).item() == pytest.approx(expected, rel=1e-15)


def test_binary_head_costs_its_distance_to_the_threshold_in_every_norm():
    logits = torch.tensor([[[1.5, -0.25, 0.0]]])
    for norm in (1, 2, math.inf):
        assert flip_costs(logits, norm).tolist() == [[1.5, 0.25, 0.0]]
        assert entry_costs(logits, 1, norm).tolist() == [[0.0, 0.25, 0.0]]
        assert entry_costs(logits, 0, norm).tolist() == [[1.5, 0.0, 0.0]]
    assert predicted_labels(logits).tolist() == [[1, 0, 0]]
    classifier = torch.tensor([[3.0, 4.0]])
    assert flip_costs(logits, classifier=classifier).tolist() == [[0.3, 0.05, 0.0]]
    assert entry_costs(logits, 1, classifier=classifier).tolist() == [[0.0, 0.05, 0.0]]


def test_classifier_costs_are_half_space_distances_in_feature_space():
    classifier, features = torch.randn(4, 6).double(), torch.randn(6, 30).double()
    logits = (classifier @ features).reshape(4, 5, 6)
    flips, label = flip_costs(logits, classifier=classifier), predicted_labels(logits)
    entry = entry_costs(logits, 1, classifier=classifier)
    for w in range(30):
        z, i = logits.flatten(1)[:, w], label.flatten()[w].item()
        gaps = [
            ((z[i] - z[j]) / (classifier[i] - classifier[j]).norm()).item()
            for j in range(4)
            if j != i
        ]
        assert flips.flatten()[w].item() == pytest.approx(min(gaps), rel=1e-12)
        gaps = [
            max(0.0, ((z[j] - z[1]) / (classifier[j] - classifier[1]).norm()).item())
            for j in range(4)
            if j != 1
        ]
        assert entry.flatten()[w].item() == pytest.approx(max(gaps), rel=1e-12)


def test_classifier_costs_are_reached_by_moving_the_features():
    classifier, features = torch.randn(4, 6).double(), torch.randn(6, 50).double()
    logits = (classifier @ features)[:, None]
    cost, label = flip_costs(logits, classifier=classifier)[0], predicted_labels(logits)[0]
    for w in range(50):
        moved = []
        for j in range(4):
            direction = classifier[j] - classifier[label[w]]
            step = features[:, w] + direction / direction.norm() * cost[w] * (1 + 1e-9)
            moved.append((classifier @ step).argmax().item())
        assert any(j != label[w] for j in moved)


def test_classifier_costs_are_never_below_those_through_its_norm():
    classifier, features = torch.randn(5, 8), torch.randn(8, 40)
    logits = (classifier @ features)[:, None]
    through_norm = flip_costs(logits) / torch.linalg.matrix_norm(classifier.double(), 2)
    assert (flip_costs(logits, classifier=classifier) >= through_norm * (1 - 1e-6)).all()


def test_orthonormal_classifier_costs_are_the_plain_ones():
    logits = torch.randn(3, 4, 5)
    identity = torch.eye(3)
    torch.testing.assert_close(flip_costs(logits, classifier=identity), flip_costs(logits))
    assert (entry_costs(logits, 0, classifier=identity) <= entry_costs(logits, 0) + 1e-12).all()


def test_identical_rows_cannot_be_exchanged_unless_tied():
    classifier = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # Predicted 0; 0 and 1 share their row. Second pixel: 0 and 1 tied. Third: 2 predicted.
    logits = torch.tensor([[[2.0, 2.0, 0.0]], [[1.0, 2.0, 0.5]], [[0.0, 0.0, 3.0]]])
    root = math.sqrt(2)
    flips = flip_costs(logits, classifier=classifier)[0].tolist()
    assert flips == pytest.approx([2 / root, 0.0, 2.5 / root])
    entry = entry_costs(logits, 1, classifier=classifier)[0].tolist()
    assert entry == pytest.approx([math.inf, 0.0, 2.5 / root])


def test_leading_dimensions_and_low_precision():
    logits = torch.randn(2, 3, 4, 5, 6)
    single = flip_costs(logits[1, 2])
    assert flip_costs(logits).shape == (2, 3, 5, 6)
    assert torch.equal(flip_costs(logits)[1, 2], single)
    assert torch.equal(entry_costs(logits, 1)[1, 2], entry_costs(logits[1, 2], 1))
    half = logits.bfloat16()
    assert torch.equal(flip_costs(half), flip_costs(half.double()))
    assert torch.equal(entry_costs(half, 1), entry_costs(half.double(), 1))


def test_large_offsets_do_not_inflate_costs():
    # The margins are exact in float32; squares of the logits would lose them.
    margins = torch.tensor([0.5, 1.0, 2.0])
    logits = torch.stack([2.0**20 + margins, torch.full((3,), 2.0**20), torch.zeros(3)])[:, None]
    expected = margins.double() / math.sqrt(2)
    torch.testing.assert_close(flip_costs(logits)[0], expected, rtol=1e-15, atol=0)
    torch.testing.assert_close(entry_costs(logits, 1)[0], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", ["classes apart", "classes together", "cropped"])
def test_labels_and_costs_are_those_of_sorting_in_every_memory_layout(layout, dtype):
    # Coarse values: every second pixel is tied.
    logits = torch.randint(-3, 4, (4, 330, 410)).to(dtype) / 3
    if layout == "classes together":
        logits = logits[None].to(memory_format=torch.channels_last)[0]
    elif layout == "cropped":
        logits = logits[:, 5:-5, 7:-7]
    values = logits.numpy().astype(np.float64)
    ordered = np.sort(values, axis=0)
    assert np.array_equal(predicted_labels(logits), values.argmax(0)), "the first of equal ones"
    assert np.array_equal(flip_costs(logits), (ordered[-1] - ordered[-2]) * 2**-0.5)


def test_the_largest_numbers_are_finite_though_their_sum_is_not():
    logits = torch.full((2, 1, 2), torch.finfo(torch.float32).max)
    assert flip_costs(logits).tolist() == [[0.0, 0.0]]
    for value in (math.inf, -math.inf, math.nan):
        logits[1, 0, 1] = value
        with pytest.raises(ValueError, match="NaN or infinite"):
            flip_costs(logits)


def test_many_classes_and_pixels_cross_chunks():
    logits = torch.randn(300, 100, 200)
    top = logits.double().topk(2, dim=0)
    assert torch.equal(predicted_labels(logits), logits.argmax(0))
    expected = (top.values[0] - top.values[1]) / math.sqrt(2)
    torch.testing.assert_close(flip_costs(logits), expected, rtol=1e-12, atol=1e-15)
    entry = entry_costs(logits[:5], 2)
    sample = [(0, 0), (57, 123), (99, 199)]
    for row, column in sample:
        z = logits[:5, row, column].double().numpy()
        assert entry[row, column].item() == pytest.approx(entry_cost(z, 2), abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: flip_costs(z, norm=3), "norm must be 1, 2 or inf, got 3"),
        (lambda z: flip_costs(z[0]), r"\(\.\.\., K, H, W\)"),
        (lambda z: flip_costs(z, 1, torch.ones(3, 2)), "norm=2 only"),
        (lambda z: flip_costs(z * math.nan), "NaN"),
        (lambda z: entry_costs(z, 3), "got 3"),
        (lambda z: entry_costs(z[:1], 2), r"\[0, 2\), got 2"),
        (lambda z: entry_costs(z, None), "needs class_index"),
        (lambda z: entry_costs(z * math.nan, 0), "NaN"),
        (lambda z: entry_costs(z, 0, 2, torch.ones(4, 2)), r"shape \(3, C\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.randn(3, 2, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-30, 1.0, 1e30, 1e38, 3.4e38])
def test_lower_bounds_are_none_above_the_costs_however_large_the_logits(dtype, size):
    logits = torch.tensor([[size, size], [-size, size / 3], [0.0, size / 2]], dtype=dtype)
    prediction = predict_with_costs(logits)
    assert prediction.lower.isfinite().all()
    assert (prediction.lower.double() <= prediction.flip() * (1 + 1e-6) + 2e-45).all()
    entry = half_gaps(prediction.first, logits[1]).double()
    exact = cone_distances(logits, 1)
    assert (entry <= exact * (1 + 1e-6) + 2e-45).all()


def test_costs_beyond_the_largest_number_of_the_logits_are_within_a_larger_budget():
    """Of enough pixels that only those within reach are measured, with weights."""
    side = 150
    logits = torch.full((2, side, side), 1.75e38)
    logits[1] *= -1
    weights = torch.ones(side, side)
    weights[::2] = 3
    target = torch.zeros(side, side, dtype=torch.long)
    eps = 1.001 * 3.5e38 / 2**0.5  # one pixel, the heavier one
    found = worst_case(logits, target, "pixel_accuracy", [eps], lipschitz=1.0, weights=weights)
    assert found.item() <= 1 - 3 / weights.sum().item()
    free = torch.tensor([[1.0], [-1.0]])
    found = worst_case(logits, target, "iou", [eps], lipschitz=1.0, class_index=1, classifier=free)
    assert found.item() == 0
