"""What a smoothed result says agrees with the report of the tool, and with a known segmentor."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from scipy.stats import norm

from mmseg_lipcert.apis import SmoothingResult
from mmseg_lipcert.certificates import radius_map
from mmseg_lipcert.certificates.smoothing import ClassHierarchy
from mmseg_lipcert.evaluation.metrics import SmoothingCertificateMetric
from mmseg_lipcert.models.segmentors import SmoothedSegmentor

from ...models.segmentors.smoothing_toys import Stump, data_of, image_of

SIGMA = 0.1
TAUS = (0.6, 0.75, 0.9)


def known_result(target=None, **options):
    """A threshold under noise: the probability of class 1 rises with the column."""
    values = torch.linspace(100, 160, 40).round()
    model = SmoothedSegmentor(Stump(), sigma=SIGMA, n0=10, n=200, draws_per_batch=50).eval()
    (sample,) = model.test_step(data_of(image_of(values)))
    if target is not None:
        sample.set_data(dict(gt_sem_seg=type(sample.pred_sem_seg)(data=target[None])))
    metric = SmoothingCertificateMetric(**{"tau": TAUS, **options})
    metric.dataset_meta = dict(classes=("dark", "light"), palette=[[0, 0, 0], [255, 255, 255]])
    true = norm.cdf(np.abs(values.numpy() - 127.5) / (255 * SIGMA))
    return SmoothingResult(sample, np.zeros((30, 40, 3), np.uint8), metric), true


@pytest.fixture(scope="module")
def labels():
    columns = torch.linspace(100, 160, 40).round() > 127.5
    target = columns.long().expand(30, 40).clone()
    target[:3] = 255
    target[3:6] = 1
    return target


def test_certified_labels_and_radii_are_true_of_the_known_probability(labels):
    result, true = known_result(labels)
    certified = result.labels != 255
    assert 0.2 < certified.mean() < 1 and result.abstain == 1 - certified.mean()
    # labels: of the first tau; the class of a column is known.
    assert (np.broadcast_to(true, (30, 40))[certified] > TAUS[0]).all()
    expected = np.broadcast_to(labels[-1].numpy(), (30, 40))
    assert (result.labels == expected)[certified].all()
    farthest = SIGMA * norm.ppf(true)
    assert (result.radius <= farthest + 1e-12).all() and result.radius.max() > 0
    assert result.bound is None and result.name == "0"


def test_the_mask_never_exceeds_the_radius(labels):
    result, _ = known_result(labels)
    for eps in (0.0, 0.02, 0.1):
        assert np.array_equal(result.robust_mask(eps), (result.radius >= eps) & (result.radius > 0))
    assert not result.robust_mask(10).any()


def test_figures_are_those_of_the_summary(labels):
    result, _ = known_result(labels)
    rows = result.metric.summarize([result.entry])["certified"]
    for row, radius in zip(rows, result.settings.radii, strict=True):
        assert row["eps"] == radius
        for name in ("pixel_accuracy", "mIoU", "mAcc"):
            assert result.worst_case(name, radius) == row[name]
        for name in ("iou", "dice", "recall", "specificity"):
            assert result.worst_case(name, radius, class_index=1) == row["per_class"][1][name]
    assert result.worst_case("mIoU") == rows[0]["mIoU"]
    first, second, third = result.settings.radii
    assert result.worst_case("stability", [0.0, first, (first + second) / 2]).tolist() == [
        rows[0]["stability"],
        rows[0]["stability"],
        rows[1]["stability"],
    ]
    with pytest.raises(ValueError, match="eps=1 is larger than the tested radii .*sigma=0.1"):
        result.worst_case("mIoU", 1)
    assert third > second


def test_radius_of_a_threshold_is_the_largest_tested_one_that_holds(labels):
    result, _ = known_result(labels)
    values = result.worst_case("stability", result.settings.radii)
    assert values[0] > values[1] > values[2]
    for value, radius in zip(values, result.settings.radii, strict=True):
        assert result.robustness_radius("stability", value) == radius
    assert result.robustness_radius("stability", 1.0) == 0.0


def test_without_labels_there_is_stability(labels):
    bare, _ = known_result()
    everything, _ = known_result(labels.clamp_max(1))
    assert bare.stability() == everything.stability()
    assert bare.stability() == (bare.labels != 255).mean()
    with pytest.raises(ValueError, match="pixel_accuracy needs labels"):
        bare.worst_case("pixel_accuracy")


def test_a_class_is_asked_for_where_it_is_needed_only(labels):
    result, _ = known_result(labels)
    with pytest.raises(ValueError, match="iou needs class_index"):
        result.worst_case("iou")
    with pytest.raises(ValueError, match="mIoU is not per class"):
        result.worst_case("mIoU", class_index=0)
    with pytest.raises(ValueError, match="unknown metric 'miou'"):
        result.worst_case("miou")


def test_metric_level_figures_count_wrong_certificates(labels):
    sure, _ = known_result(labels, correction="metric", alpha=0.01, tau=0.6)
    (row,) = sure.metric.summarize([sure.entry])["certified"]
    assert sure.worst_case("pixel_accuracy") == row["pixel_accuracy"]
    assert row["allowance"] >= 0


def test_pictures(labels, tmp_path):
    for name, target in (("labeled", labels), ("bare", None)):
        result, _ = known_result(target)
        result.draw(tmp_path / f"{name}.png")
        assert cv2.imread(str(tmp_path / f"{name}.png")).std() > 10
        assert "abstain" in repr(result)


def made_of(selected, hits, hierarchy=None):
    drawn = dict(sigma=0.5, n0=5, n=100, hierarchy=hierarchy)
    sample = SegDataSample(metainfo=dict(smoothing=drawn))
    sample.smoothing_selected = PixelData(data=torch.tensor([[selected]]))
    sample.smoothing_hits = PixelData(data=torch.tensor([[hits]]))
    return SmoothingResult(sample, None, SmoothingCertificateMetric(alpha=0.01))


def test_maps_are_those_of_the_certificates():
    result = made_of([0, 1, 1], [100, 100, 60])
    maps = result.maps
    assert maps["prediction"].tolist() == [[0, 1, 255]]
    assert (maps["selected"].tolist(), maps["hits"].tolist()) == ([[0, 1, 1]], [[100, 100, 60]])
    expected = radius_map(torch.tensor([[100, 100, 60]]), result.settings).numpy()
    assert np.array_equal(result.radius, expected) and expected[0, 0] > 0
    assert (maps["radius"] <= expected).all() and maps["radius"].dtype == np.float16
    assert [maps[name].dtype for name in ("prediction", "hits")] == [np.uint8, np.uint16]


def test_the_root_of_a_hierarchy_has_no_radius():
    hierarchy = ClassHierarchy(num_classes=2, levels=[])
    radius = made_of([0, hierarchy.abstain], [100, 100], hierarchy).radius
    assert radius[0, 0] > 0 and radius[0, 1] == 0
