from types import SimpleNamespace

import pytest
import torch
from mmseg.structures import SegDataSample

from mmseg_lipcert.engine import CertificationError
from mmseg_lipcert.engine.methods import LipschitzMethod
from mmseg_lipcert.evaluation.metrics import LipschitzCertificateMetric
from mmseg_lipcert.lipschitz import AuditError


def method(model=None, fp16=False, **options):
    metric = LipschitzCertificateMetric(**options)
    metric.dataset_meta = dict(classes=("road", "car"))
    runner = SimpleNamespace(test_loop=SimpleNamespace(fp16=fp16))
    model = model or SimpleNamespace(lipschitz_bound=lambda size: 1.0)
    return LipschitzMethod(runner, model, metric, None)


@pytest.mark.parametrize(
    "change",
    [
        dict(eps=[0.3]),
        dict(thresholds=[0.9]),
        dict(shares=[0.3]),
        dict(vanish_share=0.5),
        dict(min_region_pixels=7),
        dict(fabricate_classes=["car"]),
        dict(fabricate_pixels=9),
    ],
)
def test_whatever_decides_the_numbers_is_a_setting(change):
    assert method(**change).settings() != method().settings()
    assert method(**change).settings() == method(**change).settings()


def test_a_class_has_one_setting_by_name_and_by_index():
    by_name, by_index = (method(fabricate_classes=[c]).settings() for c in ("car", 1))
    assert by_name == by_index


def test_a_model_without_a_bound_is_refused():
    with pytest.raises(CertificationError, match="SimpleNamespace has no Lipschitz bound"):
        method(model=SimpleNamespace(predict=None))


def test_half_precision_is_refused():
    with pytest.raises(CertificationError, match="fp16 changes the certified map"):
        method(fp16=True)


def test_the_model_carries_its_bound_from_now_on():
    model = SimpleNamespace(lipschitz_bound=lambda size: 1.0, attach_bound=False)
    method(model=model)
    assert model.attach_bound


def test_an_answer_that_changes_voids_the_certification():
    def changed():
        raise AuditError("the answer has changed")

    model = SimpleNamespace(lipschitz_bound=lambda size: 1.0, require_unchanged=changed)
    reasons = []
    certification = method(model=model)
    certification.begin(reasons.append)
    with pytest.raises(AuditError, match="the answer has changed"):
        certification.finish()
    assert reasons == ["the answer has changed"]
    model.require_unchanged = lambda: None
    certification.finish()
    assert len(reasons) == 1


def batch(dtype=torch.uint8, resized=False):
    shape = (8, 8) if resized else (4, 4)
    sample = SegDataSample(metainfo=dict(img_path="a.png", ori_shape=(4, 4), img_shape=shape))
    return dict(inputs=[torch.zeros(3, *shape, dtype=dtype)], data_samples=[sample])


def test_only_images_of_0_to_255_are_certified():
    with pytest.raises(CertificationError, match="a.png.*must give uint8, got torch.float32"):
        method().start(batch(torch.float32), first=False)
    method().start(batch(), first=False)


def test_the_first_resized_image_is_told_wherever_it_comes():
    warnings = []
    certification = method()
    certification.runner.logger = SimpleNamespace(warning=warnings.append)
    for resized in (False, True, True):
        certification.start(batch(resized=resized), first=False)
    assert len(warnings) == 1 and "resizes a.png from (4, 4) to (8, 8)" in warnings[0]
