import json

import pytest
import torch

from mmseg_lipcert.certificates import (
    change_curve,
    image_entry,
    vanishing_regions,
    worst_case,
)
from mmseg_lipcert.evaluation.metrics import LipschitzCertificateMetric

EPS = [0.1, 0.4]


def prediction(name, seed, size=(6, 8), **changes):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, *size, generator=generator)
    target = torch.randint(0, 4, (1, *size), generator=generator)
    target[0, 0, :3] = 255
    sample = dict(
        seg_logits=dict(data=logits),
        gt_sem_seg=dict(data=target),
        lipschitz_bound=1.5,
        img_path=f"/data/images/{name}.png",
        img_shape=size,
        ori_shape=size,
        logit_stride=1,
    )
    return {**sample, **changes}


def evaluate(samples, batch=1):
    metric = LipschitzCertificateMetric(eps=EPS)
    metric.dataset_meta = {}
    for start in range(0, len(samples), batch):
        metric.process({}, samples[start : start + batch])
    return metric, metric.evaluate(len(samples))


def test_figures_are_those_of_the_certificates():
    samples = [prediction(f"{i}", i) for i in range(3)]
    _, figures = evaluate(samples)
    expected = torch.zeros(2, dtype=torch.float64)
    for sample in samples:
        logits, target = sample["seg_logits"]["data"], sample["gt_sem_seg"]["data"][0]
        expected += worst_case(logits, target, "pixel_accuracy", EPS, 1.5) / 3
    assert figures["certified/pixel_accuracy@0.1"] == pytest.approx(expected[0].item())
    assert figures["certified/pixel_accuracy@0.4"] == pytest.approx(expected[1].item())
    assert figures["certified/clean_pixel_accuracy"] > figures["certified/pixel_accuracy@0.1"]


def test_batches_do_not_matter():
    samples = [prediction(f"{i}", i) for i in range(4)]
    assert evaluate(samples)[1] == evaluate(samples, batch=4)[1]


def test_images_that_are_there_twice_count_once():
    samples = [prediction(f"{i}", i) for i in range(3)]
    metric, figures = evaluate(samples)
    entries = [{**metric.certify(sample), "image": sample["img_path"]} for sample in samples]
    twice = metric.compute_metrics([*entries, entries[0]])
    assert {f"certified/{name}": value for name, value in twice.items()} == figures


def test_one_small_entry_per_image():
    metric = LipschitzCertificateMetric(eps=EPS)
    metric.process({}, [prediction("a", 0, (60, 80)), prediction("b", 1, (60, 80))])
    assert len(metric.results) == 2
    assert all(len(str(entry)) < 20_000 for entry in metric.results)


def test_coarse_logits_are_weighted_by_their_cells():
    logits = torch.zeros(2, 1, 2)
    logits[0, 0, 0] = 1.0  # left cell: class 0, cost 1 / sqrt(2)
    logits[1, 0, 1] = 3.0  # right cell: class 1, cost 3 / sqrt(2)
    target = torch.tensor([[0, 0, 1, 255], [0, 1, 1, 1]])
    entry = LipschitzCertificateMetric(eps=[0.8]).calculate(logits, target, 1.0, (2, 4), stride=2)
    assert entry["valid"] == 7 and entry["correct"] == 6
    # The left cell falls for 0.71, the rest of the budget buys a fraction of the right one.
    assert 3 <= entry["correct_lost"][0] < 4


def test_prediction_without_bound_is_refused():
    metric = LipschitzCertificateMetric()
    with pytest.raises(ValueError, match="a.png: .* no Lipschitz bound"):
        metric.process({}, [prediction("a", 0, lipschitz_bound=None)])


@pytest.mark.parametrize("eps", [-0.1, float("nan"), float("inf")])
def test_bad_eps(eps):
    with pytest.raises(ValueError, match=str(eps)):
        LipschitzCertificateMetric(eps=[0.1, eps])


def test_regions_inventions_and_curve_are_those_of_the_certificates():
    sample = prediction("a", 0, (20, 30))
    logits, target = sample["seg_logits"]["data"], sample["gt_sem_seg"]["data"][0]
    metric = LipschitzCertificateMetric(
        eps=EPS,
        shares=[0.1, 0.3],
        vanish_share=0.6,
        min_region_pixels=4,
        object_classes=["car", 0],
        fabricate_pixels=5,
    )
    metric.dataset_meta = dict(classes=("road", "sky", "car", "bus"))
    metric.process({}, [sample])
    entry = json.loads(json.dumps(metric.results[0]))
    regions, _ = vanishing_regions(logits, target, 1.5, share=0.6, min_pixels=4)
    assert len(regions) > 5
    assert [(r["class"], r["radius"]) for r in entry["regions"]] == [
        (region.class_index, region.radius) for region in regions
    ]
    expected = image_entry(logits, target, EPS, 1.5, regions=metric.region_query)
    assert entry["fabrication"] == expected["fabrication"]
    assert [(row["class"], row["pixels"]) for row in entry["fabrication"]] == [(2, 5), (0, 5)]
    assert [point["radius"] for point in entry["curve"]] == pytest.approx(
        change_curve(logits, target, 1.5, [0.1, 0.3]).tolist()
    )


def test_nothing_is_invented_unless_asked_and_small_regions_are_left_out():
    metric = LipschitzCertificateMetric(eps=EPS, min_region_pixels=10**4)
    metric.process({}, [prediction("a", 0, (20, 30))])
    assert metric.results[0]["regions"] == [] and metric.results[0]["fabrication"] == []


def test_regions_where_logits_are_coarser_than_labels_are_those_of_the_pixels():
    metric = LipschitzCertificateMetric(eps=EPS, vanish_share=1.0, object_classes=[1])
    logits, target = torch.randn(3, 10, 10), torch.zeros(20, 20).long()
    target[:8] = 1
    entry = metric.calculate(logits, target, 1.5, (20, 20), stride=2)
    fine = target[::2, ::2]
    regions, _ = vanishing_regions(logits, fine, 1.5, share=1.0, classes=[0, 1])
    assert [r["pixels"] for r in entry["regions"]] == [4 * r.pixels for r in regions]
    assert [r["radius"] for r in entry["regions"]] == pytest.approx([r.radius for r in regions])
    (found,) = entry["fabrication"]
    assert found["class"] == 1 and found["radius"] > 0


def test_margins_of_a_free_classifier_are_measured_in_its_features():
    classifier = 3 * torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    sample = prediction("a", 0, (20, 30), classifier=classifier)
    logits, target = sample["seg_logits"]["data"], sample["gt_sem_seg"]["data"][0]
    _, figures = evaluate([sample])
    (expected,) = worst_case(
        logits, target, "pixel_accuracy", 0.4, 1.5, classifier=classifier
    ).tolist()
    assert figures["certified/pixel_accuracy@0.4"] == pytest.approx(expected)
    (plain,) = worst_case(logits, target, "pixel_accuracy", 0.4, 1.5).tolist()
    assert expected < plain, "ignoring the classifier would certify too much"
    entry = LipschitzCertificateMetric(eps=EPS, min_region_pixels=4).calculate(
        logits, target, 1.5, (20, 30), classifier=classifier
    )
    regions, _ = vanishing_regions(logits, target, 1.5, min_pixels=4, classifier=classifier)
    assert [r["radius"] for r in entry["regions"]] == [region.radius for region in regions]


@pytest.mark.parametrize("name", ["boat", 9])
def test_unknown_class_is_named(name):
    metric = LipschitzCertificateMetric(object_classes=[name])
    metric.dataset_meta = dict(classes=("road", "sky", "car", "bus"))
    with pytest.raises(ValueError, match=f"{name!r} is no class of the dataset.*road, sky"):
        metric.process({}, [prediction("a", 0)])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("shares", [0.0]),
        ("vanish_share", 1.5),
        ("min_region_pixels", 0),
        ("fabricate_pixels", 0),
        ("fabricate_distance", -1),
    ],
)
def test_bad_option(option, value):
    number = value[0] if isinstance(value, list) else value
    with pytest.raises(ValueError, match=f"must be .*{number}"):
        LipschitzCertificateMetric(**{option: value})
