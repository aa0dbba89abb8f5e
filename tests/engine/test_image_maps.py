import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_lipcert.certificates import SmoothingSettings, flip_costs
from mmseg_lipcert.certificates import radius_map as hits_radius_map
from mmseg_lipcert.certificates.smoothing import ClassHierarchy
from mmseg_lipcert.engine.image_maps import (
    half_precision,
    lipschitz_maps,
    prediction_map,
    radius_map,
    smoothed_radius_map,
    smoothing_maps,
)


def sample(logits, size, stride, **meta):
    result = SegDataSample(
        metainfo=dict(
            ori_shape=size, img_shape=size, logit_stride=stride, lipschitz_bound=2.0, **meta
        )
    )
    result.seg_logits = PixelData(data=logits)
    result.pred_sem_seg = PixelData(data=torch.arange(size[0] * size[1]).reshape(1, *size))
    return result


def test_radius_is_repeated_to_the_size_of_the_image():
    logits = torch.randn(3, 2, 3)
    radius = radius_map(sample(logits, (4, 6), 2))
    expected = (flip_costs(logits) / 2).repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert radius.dtype == np.float64
    assert radius == pytest.approx(expected.numpy())


def test_radius_with_a_free_classifier_is_that_of_the_features():
    logits, classifier = torch.randn(3, 2, 3), torch.randn(3, 5)
    radius = radius_map(sample(logits, (2, 3), 1, classifier=classifier))
    assert radius == pytest.approx((flip_costs(logits, classifier=classifier) / 2).numpy())


def test_prediction_has_the_size_of_the_image():
    assert prediction_map(sample(torch.randn(3, 2, 3), (4, 6), 2)).tolist() == [
        list(range(6 * row, 6 * row + 6)) for row in range(4)
    ]


def test_stored_radius_never_exceeds_the_true_one():
    radius = np.random.default_rng(0).uniform(0, 3, (50, 50)).astype(np.float32)
    stored = half_precision(radius)
    assert stored.dtype == np.float16
    assert (stored <= radius).all() and (radius - stored <= radius * 2e-3).all()
    assert (radius.astype(np.float16) > radius).any(), "plain rounding would raise some"


def test_radius_just_below_a_stored_number_is_not_rounded_up():
    # 0.25 is a float16; float32 would round the radius up to it before it is rounded down.
    logits = torch.zeros(2, 1, 1, dtype=torch.float64)
    logits[0] = (0.5 * 2**0.5) * (1 - 1e-9)
    maps = lipschitz_maps(sample(logits, (1, 1), 1))
    assert radius_map(sample(logits, (1, 1), 1)).item() < 0.25
    assert maps["radius"].dtype == np.float16 and maps["radius"].item() < 0.25


def smoothed_sample(selected, hits):
    result = SegDataSample()
    result.smoothing_selected = PixelData(data=selected[None])
    result.smoothing_hits = PixelData(data=hits[None])
    return result


def test_maps_of_a_smoothed_sample():
    settings = SmoothingSettings(sigma=0.5, n0=5, n=100, alpha=0.01, taus=(0.75,))
    selected, hits = torch.tensor([[0, 1, 1]]), torch.tensor([[100, 100, 60]])
    maps = smoothing_maps(smoothed_sample(selected, hits), settings)
    assert maps["prediction"].tolist() == [[0, 1, 255]]
    assert maps["selected"].tolist() == selected.tolist() and maps["hits"].tolist() == hits.tolist()
    radius = hits_radius_map(hits, settings).numpy()
    assert np.array_equal(maps["radius"], half_precision(radius)) and radius[0, 0] > 0
    assert [maps[name].dtype for name in ("prediction", "hits")] == [np.uint8, np.uint16]


def test_the_root_of_a_hierarchy_has_no_radius():
    settings = SmoothingSettings(sigma=0.5, n0=5, n=100, alpha=0.01, taus=(0.75,))
    hierarchy = ClassHierarchy(num_classes=2, levels=[])
    selected, hits = torch.tensor([[0, hierarchy.abstain]]), torch.tensor([[100, 100]])
    radius = smoothed_radius_map(smoothed_sample(selected, hits), settings, hierarchy)
    assert radius[0, 0] > 0 and radius[0, 1] == 0
