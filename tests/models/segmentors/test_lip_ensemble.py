import copy

import pytest
import torch
from mmseg.registry import MODELS

from .test_lip_encoder_decoder import SIZE, model_config


def ensemble_config(*members, **kwargs):
    """Members of ``model_config`` with the preprocessing and the test settings of the first."""
    return dict(
        type="LipEnsemble",
        members=list(members),
        data_preprocessor=copy.deepcopy(members[0]["data_preprocessor"]),
        test_cfg=dict(mode="whole", **kwargs),
    )


def members():
    return model_config(), model_config(skip="concat")


def test_it_is_the_mean_of_its_members(mmseg_scope):
    alone = [MODELS.build(member).eval() for member in members()]
    model = MODELS.build(ensemble_config(*members())).eval()
    state = dict(alone[0].state_dict())
    state |= {f"others.0.{key}": value for key, value in alone[1].state_dict().items()}
    model.load_state_dict(state)
    image = torch.rand(1, 3, *SIZE) - 0.5
    mean = (alone[0].network(image) + alone[1].network(image)) / 2
    torch.testing.assert_close(model.network(image), mean)
    bounds = [member.lipschitz_audit(SIZE).upper for member in alone]
    assert model.lipschitz_audit(SIZE).upper == pytest.approx(sum(bounds) / 2, rel=1e-6)


def test_no_change_of_the_image_moves_the_logits_further_than_the_bound(mmseg_scope):
    model = MODELS.build(ensemble_config(*members(), mirror=True, shifts=[(0, 0), (8, 8)])).eval()
    image = torch.rand(1, 3, *SIZE)
    bound = model.lipschitz_audit(SIZE).upper
    change, first = 0.1 * torch.randn_like(image), None
    for step in range(10):
        change = change.detach().requires_grad_()
        moved = (model.network(image + change) - model.network(image)).norm()
        first = moved if step == 0 else first
        assert moved <= bound * change.norm() * (1 + 1e-5)
        (gradient,) = torch.autograd.grad(moved, change)
        change = change + gradient * change.norm() / gradient.norm()
    assert moved > 1.5 * first  # the attack is one


def test_a_constant_is_added_to_the_mean(mmseg_scope):
    model = MODELS.build(ensemble_config(*members())).eval()
    image = torch.rand(1, 3, *SIZE)
    before = model.network(image)
    shifts = torch.arange(5.0)
    model.add_to_logits(shifts)
    torch.testing.assert_close(model.network(image), before + shifts[:, None, None])


def test_it_is_not_trained(mmseg_scope):
    model = MODELS.build(ensemble_config(*members()))
    with pytest.raises(RuntimeError, match="train the members of a LipEnsemble alone"):
        model(torch.zeros(1, 3, *SIZE), [], mode="loss")


def changed(**kwargs):
    first, second = members()
    for key, value in kwargs.items():
        second[key] = {**second[key], **value} if isinstance(value, dict) else value
    return first, second


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: members()[:1], "at least two members, got 1"),
        (lambda: changed(type="EncoderDecoder"), r"members\[1\] must be a LipEncoderDecoder"),
        (lambda: changed(data_preprocessor=dict(std=[51.0] * 3)), r"data_preprocessor of members"),
        (lambda: changed(decode_head=dict(num_classes=4)), r"members\[1\] has 4 logits"),
        (lambda: changed(decode_head=dict(free_classifier=True)), "has a free classifier"),
    ],
)
def test_members_that_do_not_fit_are_named(mmseg_scope, wrong, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(ensemble_config(*wrong()))


def test_members_of_different_strides_have_no_mean(mmseg_scope):
    first, second = changed(decode_head=dict(upsample_channels=(16,)))
    model = MODELS.build(ensemble_config(first, second)).eval()
    with pytest.raises(ValueError, match="must have the same stride"):
        model.network(torch.zeros(1, 3, *SIZE))
