import pytest
import torch

from mmseg_lipcert.attacks import ATTACKS, DEFAULT_ATTACKS, attack_accuracy
from mmseg_lipcert.attacks.ball import norms

from .ensemble import strongest


def correct(linear, delta):
    labels = linear.logits_of(linear.images + delta).argmax(1)
    return (labels == linear.target).flatten(1).sum(1)


def affordable(linear, eps):
    """How many pixels the best attack flips."""
    spent = linear.prices.sort(1).values.square().cumsum(1)
    return (spent <= eps**2).sum(1)


@pytest.mark.parametrize("eps", [0.12, 0.3, 0.45])
def test_ensemble_reaches_the_closed_form_worst_case(linear, eps):
    # The worst case is known exactly; 1% more budget must suffice to reach it in practice.
    found = attack_accuracy(linear.logits_of, linear.images, linear.target, 1.01 * eps, steps=300)
    before = correct(linear, torch.zeros_like(linear.images))
    reached = before - correct(linear, strongest(list(found.values())).delta)
    assert (reached >= affordable(linear, eps)).all()
    for name, member in found.items():
        flipped = before - correct(linear, member.delta)
        assert (flipped <= affordable(linear, 1.01 * eps * (1 + 1e-6))).all(), name
    assert (before - correct(linear, found["knapsack"].delta) >= affordable(linear, eps) - 1).all()


@pytest.mark.parametrize("name", list(ATTACKS))
@pytest.mark.parametrize("clip", [False, True])
def test_every_attack_stays_allowed_and_does_harm(linear, name, clip):
    eps = torch.tensor([0.1, 0.4], dtype=torch.float64)
    images = linear.images.clone()
    images[:, :, 1, 1] = (images[:, :, 1, 1] > 0.5).float()
    found = attack_accuracy(
        linear.logits_of, images, linear.target, eps, attacks=[name], steps=20, clip=clip
    )[name]
    assert (norms(found.delta) <= eps * (1 + 1e-6)).all()
    if clip:
        # The sum is rounded to the nearest float: never beyond 1.
        assert (images + found.delta).min() >= 0 and (images + found.delta).max() <= 1
    labels = linear.logits_of(images + found.delta).argmax(1)
    assert torch.equal(found.score.long(), (labels == linear.target).flatten(1).sum(1))
    assert found.score[1] < correct(linear, torch.zeros_like(images))[1]


def test_ensemble_is_at_least_as_strong_as_each_member(linear):
    found = attack_accuracy(linear.logits_of, linear.images, linear.target, 0.3, steps=10)
    assert list(found) == list(DEFAULT_ATTACKS)
    best = strongest(list(found.values()))
    scores = torch.stack([member.score for member in found.values()])
    assert torch.equal(best.score, scores.amin(0))
    assert torch.equal(best.score.long(), correct(linear, best.delta))
    assert all(member.score is not best.score for member in found.values())


def test_images_do_not_influence_each_other(linear):
    together = attack_accuracy(linear.logits_of, linear.images, linear.target, 0.3, steps=15)
    for n in range(2):
        alone = attack_accuracy(
            linear.logits_of, linear.images[n : n + 1], linear.target[n : n + 1], 0.3, steps=15
        )
        for name, found in together.items():
            assert torch.allclose(found.delta[n], alone[name].delta[0], atol=1e-6), name


def test_nothing_is_spent_at_eps_zero_or_on_ignored_pixels(linear):
    for name, found in attack_accuracy(
        linear.logits_of, linear.images, linear.target, 0.0, attacks=list(ATTACKS), steps=3
    ).items():
        assert found.delta.abs().max() == 0, name
    for name, found in attack_accuracy(
        linear.logits_of, linear.images, linear.target, 0.2, attacks=list(ATTACKS), steps=5
    ).items():
        assert found.delta[:, :, 0, 0].abs().max() == 0, name


def test_image_without_labels_is_left_alone(linear):
    target = torch.full_like(linear.target, 255)
    for name, found in attack_accuracy(
        linear.logits_of, linear.images, target, 0.5, attacks=list(ATTACKS), steps=4
    ).items():
        assert found.delta.abs().max() == 0, name
        assert (found.score == 0).all()


def test_mistakes_are_named(linear):
    with pytest.raises(ValueError, match="unknown attack 'fgsm'"):
        attack_accuracy(linear.logits_of, linear.images, linear.target, 0.1, attacks=["fgsm"])
    with pytest.raises(ValueError, match="got -1.0"):
        attack_accuracy(linear.logits_of, linear.images, linear.target, -1.0)
