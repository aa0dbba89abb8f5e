import pytest
import torch
from torch import nn

from mmseg_lipcert.attacks import l2_pgd

TARGET = torch.tensor([[0, 1], [1, 255]])


def linear_logits(image):
    """Two classes from the mean color of each pixel: the best attack is known."""
    gray = image.mean(0)
    return torch.stack((0.5 - gray, gray - 0.5))


def image_of(target, contrast):
    sign = torch.where(target == 1, 1.0, -1.0)
    return (0.5 + contrast * sign).expand(3, -1, -1).clone()


@pytest.mark.parametrize("eps", [0.0, 0.01, 0.3])
def test_stays_in_the_ball(eps):
    delta = l2_pgd(linear_logits, image_of(TARGET, 0.05), TARGET, eps)
    assert delta.norm() <= eps * (1 + 1e-6)


def test_finds_the_pixels_that_the_budget_buys():
    # Flipping a pixel needs its three channels to move by the contrast: 0.05 * sqrt(3) each.
    image = image_of(TARGET, 0.05)
    price = 0.05 * 3**0.5
    for count in (1, 2, 3):
        delta = l2_pgd(linear_logits, image, TARGET, 1.05 * price * count**0.5, steps=100)
        wrong = (linear_logits(image + delta).argmax(0) != TARGET) & (TARGET != 255)
        assert wrong.sum() >= count


def test_ignored_pixels_get_no_budget():
    delta = l2_pgd(linear_logits, image_of(TARGET, 0.05), TARGET, 0.2)
    assert delta[:, TARGET == 255].abs().max() == 0


def test_image_without_labels_is_left_alone():
    target = torch.full((2, 2), 255)
    assert l2_pgd(linear_logits, torch.rand(3, 2, 2), target, 0.5).abs().max() == 0


def test_eps_is_checked():
    with pytest.raises(ValueError, match="got -1"):
        l2_pgd(nn.Identity(), torch.rand(3, 2, 2), TARGET, -1)
