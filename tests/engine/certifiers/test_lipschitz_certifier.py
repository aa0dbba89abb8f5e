from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_lipcert.engine import CertificationError
from mmseg_lipcert.engine.certifiers import LipschitzCertifier
from mmseg_lipcert.engine.checks import refuse_fp16
from mmseg_lipcert.evaluation.metrics import LipschitzCertificateMetric


class Model(nn.Conv2d):
    """Knows its bound at two sizes."""

    has_free_classifier = False

    def __init__(self):
        super().__init__(1, 1, 1)

    def lipschitz_bound(self, size):
        return {(4, 4): 1.0, (8, 8): 2.0}[size]


def certifier(model=None, **options):
    metric = LipschitzCertificateMetric(**options)
    metric.dataset_meta = dict(classes=("road", "car"))
    return LipschitzCertifier(model or Model(), metric)


@pytest.mark.parametrize(
    "change",
    [
        dict(eps=[0.3]),
        dict(thresholds=[0.9]),
        dict(shares=[0.3]),
        dict(vanish_share=0.5),
        dict(min_region_pixels=7),
        dict(object_classes=["car"]),
        dict(fabricate_pixels=9),
        dict(fabricate_distance=2),
    ],
)
def test_whatever_decides_the_numbers_is_a_setting(change):
    assert certifier(**change).settings() != certifier().settings()
    assert certifier(**change).settings() == certifier(**change).settings()


def test_a_class_has_one_setting_by_name_and_by_index():
    by_name, by_index = (certifier(object_classes=[c]).settings() for c in ("car", 1))
    assert by_name == by_index


def test_other_norms_leave_the_settings_alone():
    made = certifier(eps=[0.3])
    assert made.with_eps(0.1).settings()["eps"] == [0.1]
    assert made.with_eps(None).settings()["eps"] == made.settings()["eps"] == [0.3]
    with pytest.raises(ValueError, match="eps"):
        made.with_eps(-1)


def test_a_model_without_a_bound_is_refused():
    with pytest.raises(CertificationError, match="SimpleNamespace has no Lipschitz bound"):
        certifier(model=SimpleNamespace(predict=None))


def test_half_precision_is_refused():
    refuse_fp16(False)
    with pytest.raises(CertificationError, match="fp16 changes the certified map"):
        refuse_fp16(True)


def sample_of(size=(4, 4)):
    return SegDataSample(
        metainfo=dict(img_path="a.png", image_name="a", ori_shape=(4, 4), img_shape=size)
    )


def test_only_images_of_0_to_255_are_certified():
    image = torch.zeros(3, 4, 4)
    with pytest.raises(CertificationError, match="a.png.*must give uint8, got torch.float32"):
        certifier().check(image, sample_of())
    certifier().check(image.byte(), sample_of())


def test_nothing_is_certified_under_autocast():
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(CertificationError, match="outside of autocast"),
    ):
        certifier().check(torch.zeros(3, 4, 4).byte(), sample_of())


def test_the_first_resized_image_is_told_wherever_it_comes(monkeypatch):
    warnings = []
    monkeypatch.setattr(MMLogger.get_current_instance(), "warning", warnings.append)
    made = certifier()
    for size in ((4, 4), (8, 8), (8, 8)):
        made.check(torch.zeros(3, *size).byte(), sample_of(size))
    assert len(warnings) == 1 and "resizes a.png from (4, 4) to (8, 8)" in warnings[0]


@pytest.mark.parametrize("input_size", [(4, 4), (8, 8)])
def test_the_bound_is_that_of_the_size_that_entered_the_network(input_size):
    sample = sample_of()
    sample.set_metainfo(dict(input_size=input_size, logit_stride=1))
    sample.seg_logits = PixelData(data=torch.randn(2, 4, 4))
    sample.pred_sem_seg = PixelData(data=sample.seg_logits.data.argmax(0)[None])
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, 4, 4, dtype=torch.long))
    result = certifier(eps=[0.1]).certify(sample)
    assert result.bound == result.entry["lipschitz"] == Model().lipschitz_bound(input_size)
    assert result.entry["image"] == result.name == "a"


def test_objects_are_drawn_from_what_is_stored(tmp_path):
    made = certifier(min_region_pixels=2)
    made.metric.dataset_meta = dict(classes=("road", "car"), palette=[[0, 0, 0], [9, 9, 9]])
    target = np.zeros((8, 8), np.int64)
    target[2:4, 2:4] = 1
    target[7, 7] = 255
    regions = [
        {"class": c, "pixels": n, "box": box, "detected": n, "radius": radius}
        for c, n, box, radius in ((0, 59, [0, 0, 8, 8], 0.4), (1, 4, [2, 2, 4, 4], float("inf")))
    ]
    entry = dict(image="b/a", valid=63, correct=50, eps=[0.1], correct_lost=[3], lipschitz=1.0)
    maps = dict(prediction=target.astype(np.uint8), radius=np.ones((8, 8), np.float16))
    for found, names in ((regions, {"a.png", "a_regions.png"}), (None, {"a.png"})):
        entry["regions"], folder = found, tmp_path / str(found is None)
        made.draw(folder, entry, maps, np.zeros((8, 8, 3), np.uint8), target)
        assert {path.name for path in (folder / "b").iterdir()} == names
        assert made.pictures(entry) == sorted(f"b/{name}" for name in names)
