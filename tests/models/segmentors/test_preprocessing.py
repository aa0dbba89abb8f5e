import pytest
import torch
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from mmseg.models import SegDataPreProcessor

from mmseg_lipcert.lipschitz import AuditError
from mmseg_lipcert.models.segmentors import preprocessor_norm, preprocessor_smallest_gain

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


class Renamed(SegDataPreProcessor):
    """Computes what its base computes."""


class Squared(SegDataPreProcessor):
    """Computes something else."""

    def forward(self, data, training=False):
        data = super().forward(data, training)
        return dict(data, inputs=data["inputs"].square())


@pytest.mark.parametrize("kind", [SegDataPreProcessor, ImgDataPreprocessor, Renamed])
def test_norm_is_reached_by_the_channel_with_the_smallest_std(kind):
    preprocessor = kind(mean=MEAN, std=STD, bgr_to_rgb=True)
    norm = preprocessor_norm(preprocessor)
    assert norm == pytest.approx(255 / 57.12)
    images = torch.rand(2, 3, 5, 7)
    images[1, [0, 2]] = images[0, [0, 2]]
    first, second = preprocessor(dict(inputs=list(255 * images)))["inputs"]
    distance = float((images[0] - images[1]).norm())
    assert float((first - second).norm()) == pytest.approx(norm * distance, rel=1e-5)


def test_without_normalization_the_network_reads_gray_levels():
    assert preprocessor_norm(SegDataPreProcessor()) == 255


class SquaredWhenCast(SegDataPreProcessor):
    """Computes something else before the known map."""

    def cast_data(self, data):
        data = super().cast_data(data)
        return dict(data, inputs=[image.float().square() for image in data["inputs"]])


def test_hooks_make_the_map_unknown():
    for register in ("register_forward_hook", "register_forward_pre_hook"):
        preprocessor = SegDataPreProcessor(mean=MEAN, std=STD)
        getattr(preprocessor, register)(lambda module, data, *output: None)
        with pytest.raises(AuditError, match="without hooks"):
            preprocessor_norm(preprocessor)
    preprocessor = SegDataPreProcessor(mean=MEAN, std=STD)
    preprocessor.forward = lambda data, training=False: data
    with pytest.raises(AuditError, match="not known"):
        preprocessor_norm(preprocessor)


@pytest.mark.parametrize("kind", [Squared, SquaredWhenCast, BaseDataPreprocessor])
def test_unknown_map_is_refused(kind):
    with pytest.raises(AuditError, match=kind.__name__):
        preprocessor_norm(kind())


def test_no_channel_is_scaled_by_less_than_the_smallest_gain():
    preprocessor = SegDataPreProcessor(mean=MEAN, std=STD)
    assert preprocessor_smallest_gain(preprocessor) == pytest.approx(255 / 58.395)
    assert preprocessor_smallest_gain(SegDataPreProcessor()) == 255
