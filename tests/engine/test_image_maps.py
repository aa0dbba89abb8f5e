import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_lipcert.certificates import flip_costs
from mmseg_lipcert.engine.image_maps import half_precision, prediction_map, radius_map


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
    assert radius.dtype == np.float32
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
