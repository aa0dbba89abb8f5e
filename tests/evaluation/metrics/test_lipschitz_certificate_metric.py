import pytest
import torch

from mmseg_lipcert.certificates import worst_case
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
        logit_stride=1,
    )
    return {**sample, **changes}


def evaluate(samples, batch=1, finished=None):
    metric = LipschitzCertificateMetric(eps=EPS)
    metric.dataset_meta = {}
    metric.image_root = "/data/images"
    metric.finished = finished or {}
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


def test_finished_images_count_once():
    samples = [prediction(f"{i}", i) for i in range(3)]
    metric, figures = evaluate(samples)
    first = metric.calculate(
        samples[0]["seg_logits"]["data"], samples[0]["gt_sem_seg"]["data"][0], 1.5, (6, 8)
    )
    finished = {"0": {**first, "image": "0"}}
    assert evaluate(samples[1:], finished=finished)[1] == figures
    assert evaluate(samples, finished=finished)[1] == figures


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
