import pytest
import torch

from mmseg_lipcert.attacks import VanishingObjective
from mmseg_lipcert.attacks.line_search import line_search


def pixel_objective(linear, n, row, column):
    """Another label for one pixel of the n-th image only."""
    where = torch.zeros_like(linear.target[:1], dtype=torch.bool)
    where[0, row, column] = True
    return VanishingObjective(where, linear.target[n : n + 1].masked_fill(~where, 0))


def test_along_the_gradient_a_linear_map_changes_at_the_exact_distance(linear):
    image = linear.images[:1].double()
    objective = pixel_objective(linear, 0, 2, 3)
    sign = 1 if linear.target[0, 2, 3] == 0 else -1
    direction = torch.zeros_like(image)
    direction[0, :, 2, 3] = sign
    delta, norm = line_search(linear.logits_of, image, objective, 7 * direction)
    exact = linear.prices[0].view(4, 5)[2, 3].item()
    assert exact <= norm.item() <= 1.002 * exact
    assert norm.item() == pytest.approx(delta.norm().item())
    # All channels of all pixels: longer by the root of their number.
    everywhere = torch.full_like(image, sign)
    _, longer = line_search(linear.logits_of, image, objective, everywhere)
    assert longer.item() == pytest.approx(exact * 20**0.5, rel=2e-3)


def test_images_stay_images_and_the_wrong_way_never_arrives(linear):
    image = linear.images[:1].double()
    objective = pixel_objective(linear, 0, 2, 3)
    direction = torch.zeros_like(image)
    direction[0, 0, 2, 3] = 1 if linear.target[0, 2, 3] == 0 else -1
    _, free = line_search(linear.logits_of, image, objective, direction, clip=False)
    delta, norm = line_search(linear.logits_of, image, objective, direction)
    assert norm.item() == pytest.approx(free.item(), rel=1e-3)
    assert (image + delta).min() >= 0 and (image + delta).max() <= 1
    _, norm = line_search(linear.logits_of, image, objective, -direction)
    assert norm.isinf()


def test_what_is_reached_already_costs_nothing(linear):
    where = torch.ones_like(linear.target[:1], dtype=torch.bool)
    objective = VanishingObjective(where, 1 - linear.target[:1].clamp_max(1), 0.5)
    delta, norm = line_search(
        linear.logits_of, linear.images[:1], objective, torch.ones_like(linear.images[:1])
    )
    assert norm.item() == 0 and not delta.any()
