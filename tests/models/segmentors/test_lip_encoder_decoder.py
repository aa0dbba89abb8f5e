import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_lipcert.certificates import flip_costs
from mmseg_lipcert.engine.certifiers import LipschitzCertifier
from mmseg_lipcert.evaluation.metrics import LipschitzCertificateMetric
from mmseg_lipcert.models.layers import OrthogonalLayer
from mmseg_lipcert.models.segmentors import NativeLogits

SIZE = (24, 32)


def model_config(backbone="LipUNet", skip="split", upsample=(16, 12), std=255.0, **kwargs):
    backbone = dict(type=backbone, size="XS" if backbone == "LipUNet" else "S")
    if backbone["type"] == "LipUNet":
        backbone["skip"] = skip
    channels = 32 if backbone["type"] == "LipUNet" else 64
    head = dict(
        type="LipFCNHead",
        in_channels=channels,
        channels=channels,
        num_convs=0,
        upsample_channels=upsample,
        num_classes=5,
        loss_decode=dict(type="TemperatureCrossEntropyLoss", temperature=20.0),
    )
    return dict(
        type="LipEncoderDecoder",
        data_preprocessor=dict(
            type="SegDataPreProcessor", mean=[127.5] * 3, std=[std] * 3, bgr_to_rgb=True
        ),
        backbone=backbone,
        decode_head=head,
        train_cfg=dict(),
        test_cfg=dict(mode="whole"),
        **kwargs,
    )


def build(**kwargs):
    return MODELS.build(model_config(**kwargs))


def aspp_model():
    config = model_config("LipEncoder", upsample=(32, 16, 12))
    config["decode_head"].update(type="LipASPPHead", dilations=(1, 2))
    del config["decode_head"]["num_convs"]
    return MODELS.build(config)


ARCHITECTURES = {
    "unet split": lambda: build(skip="split"),
    "unet concat": lambda: build(skip="concat"),
    "fcn": lambda: build(backbone="LipEncoder", upsample=(32, 16, 12)),
    "deeplab": aspp_model,
}


def sample(height, width, ori=None):
    labels = torch.randint(0, 5, (1, *(ori or (height, width))))
    meta = dict(img_shape=(height, width), ori_shape=ori or (height, width))
    return SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=meta)


def train_a_little(model, steps=4):
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    model.train()
    for _ in range(steps):
        losses = model.loss(torch.rand(2, 3, *SIZE) - 0.5, [sample(*SIZE) for _ in range(2)])
        optimizer.zero_grad()
        losses["decode.loss_ce"].backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_trained_model_is_one_lipschitz_and_reaches_it(name, mmseg_scope):
    model = train_a_little(ARCHITECTURES[name]())
    audit = model.lipschitz_audit(SIZE, samples=torch.rand(1, 3, *SIZE) - 0.5)
    assert 0.2 < audit.lower <= audit.upper <= 1.01
    with torch.no_grad():
        for scale in (1e-2, 1.0, 30.0):
            x = torch.randn(2, 3, *SIZE)
            d = scale * torch.randn(2, 3, *SIZE)
            moved = (model.network(x + d) - model.network(x)).flatten(1).norm(dim=1)
            assert (moved <= audit.upper * d.flatten(1).norm(dim=1) * (1 + 1e-5)).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_folded_network_gives_the_same_logits(name, mmseg_scope):
    model = train_a_little(ARCHITECTURES[name]())
    x = torch.rand(2, 3, *SIZE) - 0.5
    with torch.no_grad():
        expected = NativeLogits(model)(x)
        logits = model.network(x)
    assert not any(isinstance(module, OrthogonalLayer) for module in model.network.modules())
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert logits.stride(3) == 1, "certificates read class by class"


def test_folds_once_and_again_after_training_and_loading(mmseg_scope):
    model = build().eval()
    first = model.network
    assert model.network is first
    assert set(model.state_dict()) == set(build().state_dict()), "the copy must not be saved"
    model.train()
    assert isinstance(model.network, NativeLogits) and model.network is not first
    model.eval()
    second = model.network
    assert second is not first
    model.load_state_dict(build().state_dict())
    assert model.network is not second


def test_any_image_size(mmseg_scope):
    model = build().eval()
    for size in ((1, 1), (17, 23), (16, 16)):
        assert model.network(torch.zeros(1, 3, *size)).shape == (1, 5, *size)


def test_bound_includes_the_preprocessing_that_runs(mmseg_scope):
    # Trap 1: (x - mean) / std is 255 / min(std)-Lipschitz from [0, 1] pixels.
    model = build(std=57.0).eval()
    assert model.preprocessing_norm() == pytest.approx(255 / 57, rel=1e-6)
    network = model.lipschitz_audit(SIZE).upper
    assert model.lipschitz_bound(SIZE) == pytest.approx(network * 255 / 57, rel=1e-6)
    image = torch.rand(3, *SIZE)
    other = (image + 0.01 * torch.randn_like(image)).clamp(0, 1)
    batch = dict(inputs=[255 * image, 255 * other], data_samples=[sample(*SIZE), sample(*SIZE)])
    with torch.no_grad():
        logits = model.network(model.data_preprocessor(batch)["inputs"])
    distance = (image - other).norm()
    assert (logits[0] - logits[1]).norm() <= model.lipschitz_bound(SIZE) * distance
    assert (logits[0] - logits[1]).norm() > network * distance / 2, "the factor is not idle"


def test_preprocessor_without_normalization_counts_255(mmseg_scope):
    config = model_config()
    config["data_preprocessor"] = dict(type="SegDataPreProcessor")
    assert MODELS.build(config).eval().preprocessing_norm() == 255


def test_prediction_keeps_native_logits(mmseg_scope):
    model = build(upsample=(16,)).eval()  # one step of two: logits at stride 2
    ori = (50, 61)
    (result,) = model.predict(torch.rand(1, 3, *SIZE) - 0.5, [sample(*SIZE, ori=ori)])
    logits = result.seg_logits.data
    assert logits.shape == (5, SIZE[0] // 2, SIZE[1] // 2)
    assert result.metainfo["logit_stride"] == 2
    prediction = result.pred_sem_seg.data[0]
    assert prediction.shape == ori
    native = logits.argmax(0)
    for y, x in ((0, 0), (49, 60), (25, 30)):
        row = int((y + 0.5) * SIZE[0] / ori[0]) // 2
        column = int((x + 0.5) * SIZE[1] / ori[1]) // 2
        assert prediction[y, x] == native[row, column]


def test_autocast_leaves_logits_in_float32(mmseg_scope):
    config = model_config()
    config["train_cfg"] = dict(autocast="bfloat16")
    model = MODELS.build(config).train()
    losses = model.loss(torch.rand(1, 3, *SIZE), [sample(*SIZE)])
    losses["decode.loss_ce"].backward()
    assert losses["decode.loss_ce"].dtype == torch.float32
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)


def test_training_mode_has_no_bound(mmseg_scope):
    with pytest.raises(RuntimeError, match="model.eval"):
        build().train().lipschitz_bound(SIZE)


def test_sliding_windows_are_refused(mmseg_scope):
    config = model_config()
    config["test_cfg"] = dict(mode="slide", crop_size=(16, 16), stride=(8, 8))
    with pytest.raises(ValueError, match="mode 'whole', got 'slide'"):
        MODELS.build(config)


def test_plain_layers_can_replace_the_constrained_ones(mmseg_scope):
    config = model_config()
    config["backbone"]["layers_cfg"] = dict(conv_cfg=None, act_cfg=dict(type="ReLU"))
    model = MODELS.build(config).eval()
    assert any(type(module) is nn.Conv2d for module in model.backbone.modules())
    assert model.lipschitz_audit(SIZE).upper > 1.01, "an unconstrained layer must show"


def free_classifier_model():
    config = model_config()
    config["decode_head"]["free_classifier"] = True
    model = MODELS.build(config)
    nn.init.normal_(model.decode_head.conv_seg.weight, std=3.0)
    return model.eval()


def test_free_classifier_is_certified_through_its_weights(mmseg_scope):
    model = free_classifier_model()
    x = torch.rand(1, 3, *SIZE) - 0.5
    (predicted,) = model.predict(x)
    result = LipschitzCertifier(model, LipschitzCertificateMetric()).certify(predicted).sample
    assert result.metainfo["lipschitz_bound"] <= 1.01, "the features are 1-Lipschitz"
    weight = result.metainfo["classifier"]
    torch.testing.assert_close(weight, model.decode_head.conv_seg.weight.detach().flatten(1))
    seen = []
    classifier = model.network.decode_head.conv_seg
    with classifier.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0])):
        model.network(x)
    features = seen[0][:, :, : SIZE[0], : SIZE[1]]
    logits = torch.einsum("kc,nchw->nkhw", weight, features)
    logits = logits + model.decode_head.conv_seg.bias[:, None, None]
    torch.testing.assert_close(result.seg_logits.data, logits[0].detach(), atol=1e-5, rtol=1e-5)


def test_no_perturbation_beats_the_costs_through_a_free_classifier(mmseg_scope):
    model = free_classifier_model()
    x = torch.rand(1, 3, *SIZE) - 0.5
    bound = model.lipschitz_audit(SIZE).upper
    with torch.no_grad():
        logits = model.network(x)[0]
    costs = flip_costs(logits, classifier=model.decode_head.conv_seg.weight.detach().flatten(1))
    for index in costs.flatten().argsort()[:5].tolist():
        delta = torch.zeros_like(x, requires_grad=True)
        pixel = logits.flatten(1)[:, index]
        own, other = pixel.topk(2).indices
        budget = 0.999 * costs.flatten()[index].item() / bound
        for _ in range(10):
            moved = model.network(x + delta)[0].flatten(1)[:, index]
            (slope,) = torch.autograd.grad(moved[other] - moved[own], delta)
            delta = (budget * slope / slope.norm()).requires_grad_(True)
            assert model.network(x + delta)[0].flatten(1)[:, index].argmax() == own


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.9])
def test_binary_head_is_certified_at_its_own_threshold(threshold, mmseg_scope):
    config = model_config()
    config["decode_head"].update(
        num_classes=2,
        out_channels=1,
        threshold=threshold,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=True),
    )
    model = MODELS.build(config).eval()
    x = 10 * torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        raw = model.network(x)[0, 0]
    (result,) = model.predict(x)
    expected = raw.sigmoid() > threshold
    assert 0 < expected.sum() < expected.numel()
    assert (result.pred_sem_seg.data[0] == expected).all()
    costs = flip_costs(result.seg_logits.data)
    to_threshold = (raw - torch.tensor(threshold).logit()).abs()
    torch.testing.assert_close(costs.float(), to_threshold, atol=1e-5, rtol=1e-5)


def test_stride_of_the_logits_is_that_of_the_network_at_any_size(mmseg_scope):
    model = build(backbone="LipEncoder", upsample=()).eval()
    stride = model.backbone.total_stride
    for height in range(1, 4 * stride):
        (prediction,) = model.predict(torch.zeros(1, 3, height, 40))
        assert prediction.metainfo["logit_stride"] == stride
        assert prediction.pred_sem_seg.data.shape == (1, height, 40)


def test_own_head_of_mmsegmentation_is_certified(mmseg_scope):
    config = model_config(backbone="LipEncoder")
    config["decode_head"] = dict(
        type="FCNHead", in_channels=64, channels=8, num_classes=5, dropout_ratio=0, norm_cfg=None
    )
    model = MODELS.build(config).eval()
    (sample,) = model.predict(torch.rand(1, 3, *SIZE))
    assert sample.input_size == SIZE and 0 < model.lipschitz_bound(SIZE)


def test_inference_mode_gives_the_same_bound(mmseg_scope):
    model = build().eval()
    with torch.inference_mode():
        bound = model.lipschitz_bound(SIZE)
    model.train().eval()
    assert bound == pytest.approx(model.lipschitz_bound(SIZE), rel=1e-9)


def test_mean_with_the_mirror_image_keeps_the_bound(mmseg_scope):
    plain, config = build().eval(), model_config()
    config["test_cfg"]["mirror"] = True
    model = MODELS.build(config).eval()
    model.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, *SIZE) - 0.5
    logits = model.network(image)
    mean = (plain.network(image) + plain.network(image.flip(3)).flip(3)) / 2
    torch.testing.assert_close(logits, mean)
    torch.testing.assert_close(model.network(image.flip(3)).flip(3), logits)
    assert model.lipschitz_audit(SIZE).upper <= 1.001
    assert isinstance(model.train().network, NativeLogits)


def test_mean_over_shifts_keeps_the_bound_and_sees_the_image_moved(mmseg_scope):
    plain, config = build().eval(), model_config()
    config["test_cfg"].update(shifts=[(0, 0), (8, 4)], mirror=True)
    model = MODELS.build(config).eval()
    model.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, *SIZE) - 0.5

    # All views on one canvas of zeros, up to a multiple of the backbone's stride.
    divisor = plain.backbone.total_stride
    size = [-(-side // divisor) * divisor for side in (SIZE[0] + 8, SIZE[1] + 4)]

    def shifted(inputs, row, column):
        canvas = torch.zeros(1, 3, *size)
        canvas[:, :, row : row + SIZE[0], column : column + SIZE[1]] = inputs
        stride = plain.logit_stride
        logits = plain.network(canvas)[:, :, row // stride :, column // stride :]
        return logits[:, :, : SIZE[0] // stride, : SIZE[1] // stride]

    views = [shifted(image, *shift) for shift in ((0, 0), (8, 4))]
    views += [shifted(image.flip(3), *shift).flip(3) for shift in ((0, 0), (8, 4))]
    torch.testing.assert_close(model.network(image), sum(views) / 4)
    found = model.lipschitz_audit(SIZE, samples=image)
    assert 0.3 < found.lower <= found.upper <= 1.001


@pytest.mark.parametrize("shifts", [[], [(0,)], [(0, -8)], [(0.5, 0)]])
def test_wrong_shifts_are_named(mmseg_scope, shifts):
    config = model_config()
    config["test_cfg"]["shifts"] = shifts
    with pytest.raises(ValueError, match="pairs of whole numbers"):
        MODELS.build(config)


@pytest.mark.parametrize("views", [dict(mirror=True), dict(shifts=[(0, 0), (8, 8)])])
def test_views_and_a_free_classifier_are_refused(mmseg_scope, views):
    config = model_config()
    config["test_cfg"].update(views)
    config["decode_head"]["free_classifier"] = True
    with pytest.raises(ValueError, match="certified on the image as it is"):
        MODELS.build(config)


def test_a_shift_between_logits_is_named(mmseg_scope):
    config = model_config(upsample=(16,))
    config["test_cfg"]["shifts"] = [(1, 0)]
    model = MODELS.build(config).eval()
    with pytest.raises(ValueError, match=r"multiples of the logits' stride \d, got \(1, 0\)"):
        model.network(torch.zeros(1, 3, *SIZE))
