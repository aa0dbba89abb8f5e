import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from orthogonium.losses import CosineLoss

from mmseg_lipcert.models.losses import CosineSimilarityLoss

CLASS_WEIGHTS = st.lists(st.floats(0.1, 5), min_size=3, max_size=3)


def random_case(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 2, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (2, 2, 4), generator=generator)
    labels[0, 0, :2] = 255
    return logits, labels


def valid_pixels(logits, label):
    """Yield the logits, as floats, and the class of each valid pixel of one image."""
    for row in range(label.shape[0]):
        for column in range(label.shape[1]):
            if label[row, column] != 255:
                yield logits[:, row, column].tolist(), int(label[row, column])


@given(seed=st.integers(0, 2**31), class_weight=CLASS_WEIGHTS)
def test_pixel_mode_matches_a_loop(seed, class_weight):
    logits, labels = random_case(seed)
    total, divisor = 0.0, 0.0
    for image, label in zip(logits, labels, strict=True):
        for z, target in valid_pixels(image, label):
            total += class_weight[target] * (1 - z[target] / math.hypot(*z))
            divisor += class_weight[target]
    value = CosineSimilarityLoss("pixel", class_weight)(logits, labels).item()
    assert value == pytest.approx(total / divisor, rel=1e-6, abs=1e-6)


@given(seed=st.integers(0, 2**31), class_weight=CLASS_WEIGHTS)
def test_image_mode_matches_a_loop(seed, class_weight):
    logits, labels = random_case(seed)
    losses = []
    for image, label in zip(logits, labels, strict=True):
        product, logit_norm, label_norm = 0.0, 0.0, 0.0
        for z, target in valid_pixels(image, label):
            product += class_weight[target] * z[target]
            logit_norm += class_weight[target] * math.fsum(value**2 for value in z)
            label_norm += class_weight[target]
        losses.append(1 - product / math.sqrt(logit_norm * label_norm))
    value = CosineSimilarityLoss("image", class_weight)(logits, labels).item()
    assert value == pytest.approx(math.fsum(losses) / 2, rel=1e-6, abs=1e-6)


def test_pixel_mode_is_the_cosine_loss_of_orthogonium():
    logits, labels = torch.randn(20, 7), torch.randint(7, (20,))
    labels[:7] = torch.arange(7)  # orthogonium counts the classes in the labels
    value = CosineSimilarityLoss("pixel")(logits[:, :, None, None], labels[:, None, None])
    assert torch.allclose(value - 1, CosineLoss()(logits, labels))


def test_image_mode_is_the_cosine_of_whole_tensors():
    logits, labels = torch.randn(1, 4, 5, 6), torch.randint(4, (1, 5, 6))
    one_hot = torch.nn.functional.one_hot(labels, 4).permute(0, 3, 1, 2).float()
    expected = 1 - torch.cosine_similarity(logits.flatten(), one_hot.flatten(), dim=0)
    assert torch.allclose(CosineSimilarityLoss("image")(logits, labels), expected)


@pytest.mark.parametrize("mode", ["pixel", "image"])
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 100))
def test_the_scale_of_an_image_does_not_matter(mode, seed, scale):
    logits, labels = random_case(seed)
    loss = CosineSimilarityLoss(mode)
    assert torch.allclose(loss(scale * logits, labels), loss(logits, labels))


@pytest.mark.parametrize("mode", ["pixel", "image"])
def test_zero_logits_have_a_finite_gradient(mode):
    logits = torch.zeros(1, 3, 2, 2, requires_grad=True)
    value = CosineSimilarityLoss(mode)(logits, torch.zeros(1, 2, 2, dtype=torch.long))
    value.backward()
    assert value.item() == 1
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[:, 0] < 0).all()
