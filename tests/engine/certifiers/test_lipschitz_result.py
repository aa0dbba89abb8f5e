"""What a Lipschitz result says agrees with the certificates, and no attack contradicts it."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_lipcert.apis import CertifiedSegInferencer
from mmseg_lipcert.attacks import Ball, SegmentorLogits, VanishingObjective, pgd
from mmseg_lipcert.certificates import flip_costs, robustness_radius, worst_case
from mmseg_lipcert.certificates.cells import native_cells, native_target
from mmseg_lipcert.datasets.street_scenes import generate_street_scene
from mmseg_lipcert.engine.certifiers import LipschitzResult
from mmseg_lipcert.evaluation.metrics import LipschitzCertificateMetric

DEMO = (
    "configs/lip_shift_unet/lip-shift-unet_m_30e_street-scenes-256x512.py",
    "demo/checkpoints/lip-shift-unet_m_street-scenes.pth",
)


@pytest.fixture(scope="module")
def certify():
    return CertifiedSegInferencer(*DEMO, device="cpu")


@pytest.fixture(scope="module")
def image():
    """A generated scene: pixels (BGR) and labels."""
    pixels, labels = generate_street_scene(0, 5, (64, 128))
    return pixels[..., ::-1].copy(), labels


@pytest.fixture(scope="module")
def result(certify, image):
    return certify(image[0], eps=(0.1, 0.5), target=image[1])


def test_figures_are_those_of_the_certificates(result, image):
    logits, labels = result.sample.seg_logits.data, torch.from_numpy(image[1]).long()
    # One logit stands for 2x2 pixels.
    target = native_target(logits, labels, native_cells(logits, labels.shape, labels.shape, 2))
    assert 0.9 < result.bound < 1.01
    for metric, index in (
        ("pixel_accuracy", None),
        ("stability", None),
        ("iou", 0),
        ("mIoU", None),
    ):
        expected = worst_case(logits, target, metric, [0.1, 0.5], result.bound, class_index=index)
        assert result.worst_case(metric, class_index=index).tolist() == expected.tolist()
        assert result.worst_case(metric, 0.5, index) == expected[1]
    expected = robustness_radius(logits, target, "recall", 0.5, result.bound, class_index=0)
    assert result.robustness_radius("recall", 0.5, class_index=0) == expected > 0
    assert (
        result.worst_case("pixel_accuracy", 0)
        == (result.labels == image[1])[image[1] != 255].mean()
    )


def test_without_labels_there_is_stability(certify, image, result):
    bare = certify(image[0], eps=(0.1, 0.5))
    assert bare.target is None and np.array_equal(bare.radius, result.radius)
    everything = certify(image[0], target=np.zeros_like(image[1]))
    stable = bare.stability()
    assert stable.tolist() == everything.stability([0.1, 0.5]).tolist()
    assert 0.2 < stable[1] < stable[0] < 1
    assert bare.robustness_radius("stability", stable[1]) == pytest.approx(0.5, rel=0.05)
    for ask in (
        lambda: bare.worst_case("pixel_accuracy", 0.1),
        lambda: bare.robustness_radius("iou", 0.5, class_index=0),
        lambda: bare.entry,
    ):
        with pytest.raises(ValueError, match="needs labels: certify the image with target="):
            ask()


def test_ignored_pixels_do_not_count(certify, image):
    target = image[1].copy()
    target[:, 64:] = 255
    half = certify(image[0], target=target).worst_case("stability", 0.0)
    assert half == 1.0
    assert certify(image[0], target=np.full_like(target, 255)).entry["valid"] == 0


def test_the_mask_is_what_one_pixel_alone_would_be_certified_for(result):
    logits, bound = result.sample.seg_logits.data, result.bound
    radius = result.radius
    assert radius.dtype == np.float64
    for eps in (0.0, 0.01, 0.1, float(np.median(radius)), float(radius.max())):
        mask = result.robust_mask(eps)
        alone = [
            worst_case(logits[:, :1, [x // 2]], torch.zeros(1, 1).long(), "stability", eps, bound)
            for x in range(radius.shape[1])
        ]
        assert mask[0].tolist() == [bool(value) for value in alone]
        # Fewer pixels can be changed at once than one by one.
        assert mask.mean() <= result.stability(eps)
    assert result.robust_mask(0.0).all() and not result.robust_mask(float(radius.max())).all()


def test_no_attack_below_its_radius_changes_a_pixel(certify, image, result):
    order = np.argsort(result.radius, axis=None)
    # Of all sizes of radii: the smallest are of pixels between classes.
    for index in order[[len(order) // 10, len(order) // 2, -1]]:
        row, column = np.unravel_index(index, result.radius.shape)
        label, radius = int(result.labels[row, column]), result.radius[row, column]
        pixel = torch.zeros(1, *result.radius.shape, dtype=torch.bool)
        pixel[0, row, column] = True
        pixels = torch.from_numpy(image[0]).permute(2, 0, 1)[None].float() / 255
        logits_of = SegmentorLogits(certify.model, [result.sample])
        changed = {}
        for share in (0.999, 30.0):
            ball = Ball(torch.tensor([share * radius]))
            found = pgd(logits_of, pixels, VanishingObjective(pixel, label), ball, steps=8)
            norm = found.delta.double().norm().item()
            assert norm <= share * radius * (1 + 1e-6)
            assert share > 1 or norm > 0.9 * radius, "the budget must be used"
            attacked = logits_of.labels(pixels + found.delta)[0, row, column].item()
            changed[share] = attacked != label
        assert changed == {0.999: False, 30.0: True}, "the attack must be worth the name"


def test_no_attack_changes_more_pixels_than_stability_allows(certify, image, result):
    from mmseg_lipcert.attacks import attack_accuracy

    from ...attacks.ensemble import strongest

    pixels = torch.from_numpy(image[0]).permute(2, 0, 1)[None].float() / 255
    logits_of = SegmentorLogits(certify.model, [result.sample])
    labels = torch.from_numpy(result.labels)[None].long()
    found = attack_accuracy(logits_of, pixels, labels, 0.5, attacks=["knapsack"], steps=10)
    attacked = logits_of.labels(pixels + strongest(list(found.values())).delta)[0].numpy()
    kept = (attacked == result.labels).mean()
    bare = certify(image[0])
    assert bare.stability(0.5) <= kept < 1


def test_pictures_with_and_without_labels(certify, image, result, tmp_path):
    result.draw(tmp_path / "new" / "labeled.png")
    certify(image[0], eps=0.1).draw(tmp_path / "bare.png")
    labeled, bare = (cv2.imread(str(tmp_path / name)) for name in ("new/labeled.png", "bare.png"))
    assert labeled.std() > 10 and bare.std() > 10 and labeled.shape[0] > bare.shape[0]


def test_shown_in_one_line(certify, image, result):
    assert "pixel accuracy" in repr(result) and "64x128" in repr(result)
    assert "stable at 0.1" in repr(certify(image[0], eps=0.1))


def test_wrong_questions_are_refused(result):
    with pytest.raises(ValueError, match="unknown metric 'accuracy'"):
        result.worst_case("accuracy", 0.1)
    with pytest.raises(ValueError, match="recall needs class_index"):
        result.worst_case("recall", 0.1)
    with pytest.raises(ValueError, match="eps must be finite"):
        result.robust_mask(-1)
    with pytest.raises(ValueError, match=r"eps must be one number, got \(0.1, 0.5\)"):
        result.robust_mask((0.1, 0.5))


def made_of(logits, size, stride, **meta):
    sample = SegDataSample(
        metainfo=dict(
            ori_shape=size, img_shape=size, logit_stride=stride, lipschitz_bound=2.0, **meta
        )
    )
    sample.seg_logits = PixelData(data=logits)
    sample.pred_sem_seg = PixelData(data=torch.arange(size[0] * size[1]).reshape(1, *size))
    return LipschitzResult(sample, None, LipschitzCertificateMetric())


def test_maps_are_repeated_to_the_size_of_the_image():
    logits = torch.randn(3, 2, 3)
    result = made_of(logits, (4, 6), 2)
    expected = (flip_costs(logits) / 2).repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert result.radius == pytest.approx(expected.numpy())
    assert result.labels.tolist() == [list(range(6 * row, 6 * row + 6)) for row in range(4)]


def test_radius_with_a_free_classifier_is_that_of_the_features():
    logits, classifier = torch.randn(3, 2, 3), torch.randn(3, 5)
    radius = made_of(logits, (2, 3), 1, classifier=classifier).radius
    assert radius == pytest.approx((flip_costs(logits, classifier=classifier) / 2).numpy())


def test_stored_radius_never_exceeds_the_true_one():
    result = made_of(6 * torch.rand(2, 50, 50), (50, 50), 1)
    stored, radius = result.maps["radius"], result.radius
    assert stored.dtype == np.float16
    assert (stored <= radius).all() and (radius - stored <= radius * 2e-3 + 1e-7).all()
    assert (radius.astype(np.float16) > radius).any(), "plain rounding would raise some"


def test_radius_just_below_a_stored_number_is_not_rounded_up():
    # 0.25 is a float16; float32 would round the radius up to it before it is rounded down.
    logits = torch.zeros(2, 1, 1, dtype=torch.float64)
    logits[0] = (0.5 * 2**0.5) * (1 - 1e-9)
    result = made_of(logits, (1, 1), 1)
    assert result.radius.item() < 0.25 and result.maps["radius"].item() < 0.25
