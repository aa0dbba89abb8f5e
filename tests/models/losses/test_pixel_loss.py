"""What all losses share: ignored pixels, weights, reductions and errors."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmseg.registry import MODELS
from torch import Tensor

IGNORE = 255
LOSSES = [
    {"type": "TemperatureCrossEntropyLoss", "temperature": 5.0},
    {"type": "CosineSimilarityLoss", "mode": "pixel"},
    {"type": "CosineSimilarityLoss", "mode": "image"},
    {"type": "HKRLoss", "alpha": 0.7, "min_margin": 0.8},
]
each_loss = pytest.mark.parametrize(
    "config", LOSSES, ids=lambda config: "-".join(map(str, config.values()))
)


def random_case(seed: int, ignored: float = 0.3, shape=(2, 4, 3, 5)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images, classes, height, width = shape
    logits = torch.randn(shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (images, height, width), generator=generator)
    mask = torch.rand(labels.shape, generator=generator) < ignored
    return logits, labels.masked_fill(mask, IGNORE)


@each_loss
@given(seed=st.integers(0, 2**31), garbage=st.sampled_from([7.0, float("inf"), float("nan")]))
def test_ignored_pixels_change_nothing(config, seed, garbage):
    loss = MODELS.build({**config, "class_weight": [0.5, 1.0, 2.0, 3.0]})
    logits, labels = random_case(seed)
    changed = torch.where((labels == IGNORE).unsqueeze(1), garbage, logits).requires_grad_()
    value = loss(changed, labels)
    value.backward()
    assert torch.equal(value, loss(logits, labels))
    assert (changed.grad.movedim(1, -1)[labels == IGNORE] == 0).all()
    assert torch.isfinite(changed.grad).all()


@each_loss
@pytest.mark.parametrize("class_weight", [None, [0.0, 1.0, 2.0, 0.5]])
def test_all_pixels_ignored_gives_zero_with_a_gradient(config, class_weight):
    loss = MODELS.build({**config, "class_weight": class_weight})
    logits = torch.randn(2, 4, 3, 3, requires_grad=True)
    value = loss(logits, torch.full((2, 3, 3), IGNORE))
    value.backward()
    assert value.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@each_loss
def test_one_image_without_labels_in_the_batch(config):
    loss = MODELS.build(config)
    logits, labels = random_case(0)
    labels[1] = IGNORE
    assert torch.allclose(loss(logits, labels), loss(logits[:1], labels[:1]))


@each_loss
@pytest.mark.parametrize("class_weight", [None, [0.5, 1.0, 2.0, 0.0]])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradient(config, class_weight, reduction):
    loss = MODELS.build({**config, "class_weight": class_weight, "reduction": reduction})
    logits, labels = random_case(3, shape=(2, 4, 2, 3))
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), logits.requires_grad_())


@each_loss
def test_class_weights_are_normalized(config):
    weights = torch.tensor([0.5, 1.0, 2.0, 3.0])
    logits, labels = random_case(4)
    losses = [
        MODELS.build({**config, "class_weight": (factor * weights).tolist()})(logits, labels)
        for factor in (1, 8)
    ]
    assert torch.allclose(losses[0], losses[1], rtol=1e-12)


@each_loss
def test_class_weights_act_as_pixel_weights(config):
    class_weight = [0.5, 1.0, 2.0, 3.0]
    logits, labels = random_case(5)
    pixel_weights = torch.tensor(class_weight)[labels.masked_fill(labels == IGNORE, 0)]
    by_class = MODELS.build({**config, "class_weight": class_weight})(logits, labels)
    by_pixel = MODELS.build(config)(logits, labels, weight=pixel_weights)
    assert torch.allclose(by_class, by_pixel, rtol=1e-12)


@each_loss
def test_a_pixel_of_weight_zero_counts_as_ignored(config):
    loss = MODELS.build(config)
    logits, labels = random_case(6, ignored=0)
    weight = torch.ones(labels.shape)
    weight[:, 0] = 0
    ignored = labels.clone()
    ignored[:, 0] = IGNORE
    assert torch.allclose(loss(logits, labels, weight=weight), loss(logits, ignored))


@each_loss
def test_reductions_agree(config):
    loss = MODELS.build({**config, "loss_weight": 2.0})
    logits, labels = random_case(7)
    terms = loss(logits, labels, reduction_override="none")
    assert torch.allclose(terms.sum(), loss(logits, labels, reduction_override="sum"))
    counted = 2 if config.get("mode") == "image" else (labels != IGNORE).sum()
    assert torch.allclose(terms.sum() / counted, loss(logits, labels))
    assert torch.allclose(loss(logits, labels), 2 * MODELS.build(config)(logits, labels))


@each_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_reduced_in_float32(config, dtype):
    logits, labels = random_case(8)
    logits = logits.to(dtype)
    loss = MODELS.build(config)
    assert torch.equal(loss(logits, labels), loss(logits.float(), labels))


@each_loss
def test_another_ignore_index(config):
    loss = MODELS.build(config)
    logits, labels = random_case(9)
    moved = torch.where(labels == IGNORE, -1, labels)
    assert torch.equal(loss(logits, moved, ignore_index=-1), loss(logits, labels))


@each_loss
def test_the_loss_adds_no_key_to_checkpoints(config):
    assert not MODELS.build({**config, "class_weight": [1.0, 2.0]}).state_dict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_weight": [1.0, -1.0]}, r"not negative, got \[1.0, -1.0\]"),
        ({"class_weight": [1.0, float("nan")]}, "finite"),
        ({"reduction": "median"}, "'median'"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"type": "CosineSimilarityLoss", "mode": "row"}, "'row'"),
        ({"type": "HKRLoss", "alpha": 1.5}, r"\[0, 1\], got 1.5"),
        ({"type": "HKRLoss", "min_margin": 0}, "min_margin must be above 0, got 0"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    config = {"type": "TemperatureCrossEntropyLoss"} | changes
    if config["type"].startswith("Temperature"):
        config.setdefault("temperature", 1.0)
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)


@pytest.mark.parametrize(
    ("logits_shape", "label_shape", "label", "weight_shape", "message"),
    [
        ((1, 1, 2, 2), (1, 2, 2), 0, None, "K >= 2"),
        ((1, 3, 2), (1, 2, 2), 0, None, "K >= 2"),
        ((1, 3, 2, 2), (1, 1, 2, 2), 0, None, r"labels must have shape \(1, 2, 2\)"),
        ((1, 3, 2, 2), (1, 2, 2), 0, (1, 4), "pixel weights must have shape"),
        ((1, 4, 2, 2), (1, 2, 2), 0, None, "4 class weights are needed, one per class, got 3"),
        ((1, 3, 2, 2), (1, 2, 2), 3, None, r"labels \[3\] are neither classes 0..2 nor .* 255"),
        ((1, 3, 2, 2), (1, 2, 2), -1, None, r"labels \[-1\] are neither"),
    ],
)
def test_wrong_inputs_are_named(logits_shape, label_shape, label, weight_shape, message):
    loss = MODELS.build(
        {"type": "TemperatureCrossEntropyLoss", "temperature": 1.0, "class_weight": [1, 1, 1]}
    )
    weight = None if weight_shape is None else torch.ones(weight_shape)
    with pytest.raises(ValueError, match=message):
        loss(torch.zeros(logits_shape), torch.full(label_shape, label), weight=weight)


@each_loss
@pytest.mark.parametrize("sampler", [None, {"type": "OHEMPixelSampler", "min_kept": 3}])
def test_in_a_decode_head(config, sampler):
    if sampler is not None and config.get("mode") == "image":
        sampler = {**sampler, "thresh": 0.7}  # without a threshold it ranks losses per pixel
    head = MODELS.build(
        {
            "type": "FCNHead",
            "in_channels": 2,
            "channels": 2,
            "num_convs": 0,
            "concat_input": False,
            "num_classes": 4,
            "loss_decode": {**config, "class_weight": [0.5, 1.0, 2.0, 3.0]},
            "sampler": sampler,
        }
    )
    _, labels = random_case(10)
    samples = [make_sample(label) for label in labels]
    losses = head.loss_by_feat(torch.randn(2, 4, 3, 5, requires_grad=True), samples)
    value = losses[head.loss_decode.loss_name]
    value.backward()
    assert head.loss_decode.loss_name.startswith("loss_")
    assert torch.isfinite(value)


def make_sample(label: Tensor):
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    return SegDataSample(gt_sem_seg=PixelData(data=label.unsqueeze(0)))
