import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_lipcert.models.layers import SLLBlock


def random_block(channels, hidden, seed, scale=1.0):
    torch.manual_seed(seed)
    block = SLLBlock(channels, hidden).double()
    with torch.no_grad():
        block.weight.normal_(0, scale)
        block.bias.normal_()
        block.log_scale.normal_()
    return block


@settings(max_examples=30, deadline=None)
@given(
    channels=st.integers(1, 8),
    hidden=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_no_jacobian_expands(channels, hidden, seed, scale):
    block = random_block(channels, hidden, seed, scale)
    x = torch.randn(channels, dtype=torch.double)
    jacobian = torch.autograd.functional.jacobian(lambda v: block(v.view(1, -1, 1, 1)).view(-1), x)
    assert torch.linalg.matrix_norm(jacobian, 2) <= 1 + 1e-9


def test_it_is_the_layer_of_the_paper():
    block = random_block(3, 4, seed=0)
    x = torch.randn(2, 3, 2, 2, dtype=torch.double)
    gram, q = (block.weight @ block.weight.T).detach(), block.log_scale.detach().exp()
    t = torch.tensor(
        [sum(abs(gram[i, j]) * q[j] / q[i] for j in range(4)) for i in range(4)],
        dtype=torch.double,
    )
    for n, row, column in ((0, 0, 1), (1, 1, 0)):
        v = x[n, :, row, column]
        hidden = (block.weight @ v + block.bias).clamp_min(0)
        expected = v - 2 * block.weight.T @ (hidden / t)
        torch.testing.assert_close(block(x)[n, :, row, column], expected)


def test_starts_as_a_reflection_of_what_is_active():
    block = SLLBlock(6)
    x = torch.randn(1, 6, 3, 3)
    torch.testing.assert_close(block(x).norm(), x.norm())


def test_a_row_of_zeros_does_nothing():
    block = random_block(3, 2, seed=1)
    with torch.no_grad():
        block.weight[0] = 0
    x = torch.randn(1, 3, 1, 1, dtype=torch.double)
    assert torch.isfinite(block(x)).all()
    assert (block.adjoint[:, 0] == 0).all()


def test_folded_computes_the_same():
    block = random_block(5, 7, seed=2)
    x = torch.randn(2, 5, 4, 3, dtype=torch.double)
    torch.testing.assert_close(block.fold()(x), block(x))


def test_scales_stay_in_float32_under_autocast():
    block = SLLBlock(4)
    with torch.autocast("cpu", torch.bfloat16):
        assert block.adjoint.dtype == torch.float32


@pytest.mark.parametrize("hidden", [None, 6])
def test_width(hidden):
    assert SLLBlock(4, hidden).weight.shape == (hidden or 4, 4)
