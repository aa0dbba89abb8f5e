from operator import attrgetter
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_lipcert.engine import CertificationError, check_state_dict
from mmseg_lipcert.engine.checks import (
    MAX_CLASSES,
    check_checkpoint,
    check_classes,
    check_dataset,
    check_weights,
    use_full_precision,
)


def test_complete_checkpoint_passes_with_or_without_the_ddp_prefix():
    model = nn.BatchNorm2d(3)
    check_state_dict(model, model.state_dict())
    check_state_dict(model, {f"module.{key}": v for key, v in model.state_dict().items()})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state: state.pop("running_var"), "1 missing: running_var"),
        (lambda state: state.update(extra=torch.zeros(1)), "1 unexpected: extra"),
        (lambda state: state.update(bias=torch.zeros(4)), "1 of another shape: bias"),
    ],
)
def test_what_does_not_fit_is_named(edit, message):
    model = nn.BatchNorm2d(3)
    state = dict(model.state_dict())
    edit(state)
    with pytest.raises(CertificationError, match=message):
        check_state_dict(model, state)


def test_long_lists_are_cut():
    with pytest.raises(CertificationError, match="5 missing: .*, .*, .* and 2 more"):
        check_state_dict(nn.BatchNorm2d(3), {})


def test_what_inference_does_not_use_may_be_missing_or_left_over():
    model = nn.BatchNorm2d(3)
    state = dict(model.state_dict())
    state.pop("num_batches_tracked")
    state["auxiliary_head.weight"] = torch.zeros(1)
    spare = r"^auxiliary_head\.|num_batches_tracked$"
    check_state_dict(model, state, spare)
    with pytest.raises(CertificationError, match="num_batches_tracked"):
        check_state_dict(model, state)
    state.pop("running_mean")
    with pytest.raises(CertificationError, match="1 missing: running_mean"):
        check_state_dict(model, state, spare)


def test_weights_that_are_no_numbers_are_named():
    state = dict(nn.BatchNorm2d(3).state_dict())
    check_weights(state)
    state["bias"] = torch.tensor([0.0, float("nan"), 1.0])
    with pytest.raises(CertificationError, match="weights contain NaN or infinite values: bias"):
        check_weights(state)
    with pytest.raises(CertificationError, match="weights contain NaN or infinite values: bias"):
        check_checkpoint(nn.BatchNorm2d(3), state)


def test_infinite_weights_are_named_and_masks_may_be_infinite():
    infinite = torch.tensor([0.0, float("inf")])
    check_weights({"attention_mask": infinite, "count": torch.tensor(1)})
    with pytest.raises(CertificationError, match="infinite values: conv.weight"):
        check_weights({"conv.weight": infinite})


# PyTorch before 2.9 has only the older switches.
SCOPES = ("", "cudnn", "cudnn.conv", "mkldnn", "mkldnn.conv")
SCOPES = SCOPES if hasattr(torch.backends, "fp32_precision") else ()


def scope_of(name):
    return attrgetter(f"backends.{name}" if name else "backends")(torch)


@pytest.fixture
def own_precision():
    before = {name: scope_of(name).fp32_precision for name in SCOPES}
    yield
    for name, value in before.items():
        scope_of(name).fp32_precision = value
    use_full_precision()


def turn_on(name):
    if name == "older":
        torch.backends.cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("high")
    else:
        scope_of(name).fp32_precision = "bf16" if name.startswith("mkldnn") else "tf32"


@pytest.mark.parametrize("name", ["older", *SCOPES])
def test_reduced_precision_is_off_whichever_switch_turned_it_on(name, own_precision):
    turn_on(name)
    use_full_precision()
    assert all(scope_of(scope).fp32_precision == "ieee" for scope in SCOPES)
    assert not torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"


class Labels:
    """Images with label maps; each is what the test pipeline made of an image of 4 x 6."""

    dataset = SimpleNamespace(ignore_index=255)

    def __init__(self, *maps):
        self.maps = dict(enumerate(maps))
        self.names = list(self.maps)

    def __len__(self):
        return len(self.maps)

    def info(self, name):
        return dict(img_path=f"{name}.jpg", seg_map_path=f"{name}.png")

    def __getitem__(self, number):
        return self.read(self.names[number])

    def read(self, index):
        sample = SegDataSample(metainfo=dict(ori_shape=(4, 6)))
        if self.maps[index] is not None:
            sample.gt_sem_seg = PixelData(data=self.maps[index])
        return dict(data_samples=sample, inputs=self.image())

    def image(self):
        return torch.zeros(3, 4, 6)


GOOD, VOID = torch.ones(1, 4, 6, dtype=torch.long), torch.full((1, 4, 6), 255)


def test_a_dataset_tells_the_sizes_of_its_images():
    assert check_dataset(Labels(GOOD, VOID, GOOD), 3, 255) == [24, 24, 24]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (GOOD.expand(3, 4, 6), "1.png.* one channel of class numbers"),
        (GOOD[0].unsqueeze(-1).expand(4, 6, 3), "1.png.*not colors"),
        (GOOD[:, :2], r"\(1, 2, 6\) do not fit an image of \(4, 6\)"),
        (3 * GOOD, r"1.png.* labels \[3\]; classes are 0..2"),
        (None, "1.jpg.* has no labels.*CertifiedSegInferencer"),
    ],
)
def test_labels_that_do_not_fit_are_named(labels, message):
    with pytest.raises(CertificationError, match=message):
        check_dataset(Labels(GOOD, labels), 3, 255)


def test_labels_without_any_valid_pixel_are_refused():
    with pytest.raises(CertificationError, match="no pixel of the 2 images"):
        check_dataset(Labels(VOID, VOID), 3, 255)
    assert check_dataset(Labels(VOID), 3, 255, labeled=False) == [24]


def test_masks_whose_foreground_is_ignored_are_noticed(monkeypatch):
    said = []
    logger = SimpleNamespace(info=lambda _: None, warning=said.append)
    monkeypatch.setattr(MMLogger, "get_current_instance", lambda: logger)
    mask = torch.where(torch.arange(6) < 3, 0, 255).expand(1, 4, 6)
    check_dataset(Labels(mask, mask), 2, 255)
    assert len(said) == 1 and "all labeled pixels have class 0" in said[0] and "255" in said[0]
    check_dataset(Labels(mask, GOOD), 2, 255)
    check_dataset(Labels(mask), 1, 255)
    assert len(said) == 1


def test_dataset_and_metric_ignore_one_label():
    with pytest.raises(CertificationError, match="label 255, the metric label 0"):
        check_dataset(Labels(GOOD), 3, 0)


def test_random_pipelines_are_refused():
    dataset = Labels(GOOD)
    dataset.image = lambda: torch.rand(3, 4, 6)
    with pytest.raises(CertificationError, match="another image at every reading"):
        check_dataset(dataset, 3, 255)


def test_classes_must_exist_be_those_of_the_model_and_fit_into_label_maps():
    check_classes(["a"] * MAX_CLASSES, MAX_CLASSES)
    check_classes(["a", "b"], 1)
    with pytest.raises(CertificationError, match="no classes: give .*metainfo"):
        check_classes(None, 3)
    with pytest.raises(CertificationError, match="has 3 classes, the model 19"):
        check_classes(["a"] * 3, 19)
    with pytest.raises(CertificationError, match="256 classes cannot be stored"):
        check_classes(["a"] * 256, 256)
