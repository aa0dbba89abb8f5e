import copy

import pytest
import torch
from mmengine.registry import OPTIMIZERS
from torch import nn

from mmseg_lipcert.engine.optimizers import MuonAdam


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))


def one_step(model, optimizer):
    optimizer.zero_grad()
    torch.manual_seed(1)
    model(torch.randn(8, 6)).pow(2).sum().backward()
    optimizer.step()


def test_every_direction_of_a_matrix_moves_alike():
    model = network()
    before = copy.deepcopy(model)
    one_step(model, MuonAdam(model.parameters(), lr=0.1))
    step = (before[0].weight - model[0].weight) / 0.1
    assert (torch.linalg.svdvals(step) > 0.6).all()
    assert (torch.linalg.svdvals(step) < 1.3).all()
    # It goes down the gradient.
    assert (step * model[0].weight.grad).sum() > 0


def test_the_rest_takes_steps_of_adam():
    model, reference = network(), network()
    optimizer = MuonAdam(model.parameters(), adam_lr=0.01, betas=(0.8, 0.9))
    adam = torch.optim.Adam([reference[0].bias, reference[2].bias], lr=0.01, betas=(0.8, 0.9))
    one_step(model, optimizer)
    one_step(reference, adam)
    for layer in (0, 2):
        torch.testing.assert_close(model[layer].bias, reference[layer].bias)
        assert model[layer].weight.grad is not None


def test_goes_on_from_a_saved_state():
    model = network()
    optimizer = MuonAdam(model.parameters())
    one_step(model, optimizer)
    other = copy.deepcopy(model)
    resumed = MuonAdam(other.parameters())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    one_step(model, optimizer)
    one_step(other, resumed)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_learning_rates_of_both_kinds_are_scheduled():
    optimizer = OPTIMIZERS.build(dict(type="MuonAdam", params=network().parameters(), lr=0.5))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.1)
    assert [group["lr"] for group in scheduler.optimizer.param_groups] == [2e-4, 0.05]


@pytest.mark.parametrize("setting", [dict(lr=0), dict(momentum=1.0)])
def test_wrong_settings(setting):
    with pytest.raises(ValueError, match="lr must be above 0 and momentum"):
        MuonAdam(network().parameters(), **setting)


def test_groups_are_refused():
    with pytest.raises(ValueError, match="paramwise"):
        MuonAdam([dict(params=list(network().parameters()))])
