import pytest
import torch
from torch import nn

from mmseg_lipcert.lipschitz import measured_lower_bound


def test_linear_map_is_measured_exactly():
    model = nn.Linear(6, 4).double()
    truth = float(torch.linalg.matrix_norm(model.weight.detach(), 2))
    measured = measured_lower_bound(model, torch.randn(3, 6, dtype=torch.float64))
    assert measured <= truth * (1 + 1e-12)
    assert measured == pytest.approx(truth, rel=1e-3)


def test_ascent_finds_the_steep_part_of_a_function_that_is_flat_at_the_sample():
    class Hinge(nn.Module):
        def forward(self, x):
            return torch.relu(x - 1) * 3 + 0.1 * x

    sample = torch.full((1, 4), 0.99, dtype=torch.float64)
    assert measured_lower_bound(Hinge(), sample) > 1


def test_constant_map_has_lower_bound_zero():
    class Constant(nn.Module):
        def forward(self, x):
            return x.detach() * 0

    assert measured_lower_bound(Constant(), torch.ones(1, 3, dtype=torch.float64)) == 0


def test_all_outputs_count_together():
    class Copies(nn.Module):
        def forward(self, x):
            return {"a": x, "b": [x, x, x]}

    measured = measured_lower_bound(Copies(), torch.rand(1, 3, dtype=torch.float64))
    assert measured == pytest.approx(2)
