import pytest
import torch
from torch import nn

from mmseg_lipcert.models.layers import RolledStage


def test_groups_come_back_to_their_places():
    stage = RolledStage(16, 3, dilations=(1, 2))
    stage.blocks = nn.ModuleList(nn.Identity() for _ in range(3))
    x = torch.randn(2, 16, 6, 7)
    assert torch.equal(stage(x), x)


def test_each_block_sees_the_pixels_around_one_step_further():
    stage = RolledStage(16, 1, dilations=(2,)).double()
    x = torch.zeros(1, 16, 9, 9, dtype=torch.double, requires_grad=True)
    with torch.no_grad():
        stage.blocks[0].bias.fill_(1.0)  # all units are active
        stage.blocks[0].weight.normal_()
    stage(x)[0, :, 4, 4].sum().backward()
    seen = {tuple(place) for place in x.grad[0].abs().sum(0).nonzero().tolist()}
    assert {(4, 4), (2, 4), (6, 4), (4, 2), (4, 6)} <= seen
    assert all(row % 2 == 0 and column % 2 == 0 for row, column in seen)


def test_rolls_go_around_the_border():
    stage = RolledStage(8, 1)
    x = torch.randn(1, 8, 5, 5)
    moved = torch.roll(x, (2, 3), (2, 3))
    torch.testing.assert_close(stage(moved), torch.roll(stage(x), (2, 3), (2, 3)))


def test_jacobian_does_not_expand():
    stage = RolledStage(8, 4, dilations=(1, 2)).double()
    with torch.no_grad():
        for block in stage.blocks:
            block.weight.normal_()
            block.bias.normal_()
    x = torch.randn(8 * 3 * 4, dtype=torch.double)
    jacobian = torch.autograd.functional.jacobian(lambda v: stage(v.view(1, 8, 3, 4)).view(-1), x)
    assert torch.linalg.matrix_norm(jacobian, 2) <= 1 + 1e-9


def test_channels_must_split():
    with pytest.raises(ValueError, match="multiple of 8, got 12"):
        RolledStage(12, 1)
