import array
import collections
import copy
import itertools
import json
import types

import pytest
import torch
import torch.nn.functional as F
from orthogonium.layers import AdaptiveOrthoConv2d
from orthogonium.layers.conv.AOL import AOLConv2D
from orthogonium.layers.conv.SLL import (
    AOCLipschitzResBlock,
    SDPBasedLipschitzDense,
    SDPBasedLipschitzResBlock,
)
from torch import nn
from torch.nn.utils import parametrize

from mmseg_lipcert.lipschitz import AuditError, UnboundedOperationError, audit
from mmseg_lipcert.lipschitz.rules import RULES

# Earlier versions of PyTorch refuse some models themselves, while they trace.
UNTRACED = "|torch.export could not trace" if torch.__version__ < "2.9" else ""


def fold(model):
    """Evaluate all parametrisations once, as the library does before certifying."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name)
    return model.eval()


class MaxMin(nn.Module):
    def forward(self, x):
        a, b = x.chunk(2, dim=1)
        return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=1)


class SplitUNet(nn.Module):
    """Half of the channels skip the lower level; every layer is orthogonal."""

    def __init__(self, width=8, padding_mode="zeros"):
        super().__init__()

        def conv(*args, **kwargs):
            return AdaptiveOrthoConv2d(*args, padding_mode=padding_mode, **kwargs)

        self.stem = conv(3, width, 3)
        self.down = conv(width // 2, width, 2, stride=2, padding=0)
        self.middle = conv(width, width, 3)
        self.up = conv(width, 2 * width, 1)
        self.head = conv(width, 5, 3)
        self.act = MaxMin()

    def forward(self, x):
        skip, x = self.act(self.stem(x)).chunk(2, dim=1)
        x = self.act(self.middle(self.act(self.down(x))))
        x = F.pixel_shuffle(self.up(x), 2)
        return self.head(self.act(torch.cat([skip, x], dim=1)))


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return fold(SplitUNet())


@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
def test_unet_with_channel_splits_is_exactly_as_lipschitz_as_its_layers(padding_mode):
    model = fold(SplitUNet(padding_mode=padding_mode))
    result = audit(model, (1, 3, 16, 16), torch.rand(2, 3, 16, 16))
    assert 0.8 < result.lower <= result.upper <= 1 + 1e-3
    assert 1 <= result.gap < 1.25


def test_bound_is_never_below_the_jacobian(unet, jacobian_norm):
    upper = audit(unet, (1, 3, 8, 8)).upper
    model = copy.deepcopy(unet).double()
    for _ in range(3):
        assert jacobian_norm(model, torch.randn(1, 3, 8, 8)) <= upper


def test_random_and_ascended_pairs_never_exceed_the_bound(unet):
    upper = audit(unet, (1, 3, 8, 8)).upper
    model = copy.deepcopy(unet).double()
    x = torch.rand(500, 3, 8, 8, dtype=torch.float64)
    d = torch.randn(500, 3, 8, 8, dtype=torch.float64)
    for scale in (1e-3, 1.0, 30.0):
        d = scale * d / torch.linalg.vector_norm(d, dim=(1, 2, 3), keepdim=True)
        for _ in range(4):
            d = d.requires_grad_(True)
            change = torch.linalg.vector_norm((model(x + d) - model(x)).flatten(1), dim=1)
            ratio = change / torch.linalg.vector_norm(d.flatten(1), dim=1)
            assert float(ratio.max().detach()) <= upper
            (slope,) = torch.autograd.grad(ratio.sum(), d)
            length = torch.linalg.vector_norm(slope, dim=(1, 2, 3), keepdim=True)
            d = (d + 0.5 * scale * slope / length.clamp_min(1e-300)).detach()


def test_the_model_is_not_changed(unet):
    before = copy.deepcopy(unet.state_dict())
    audit(unet, (1, 3, 8, 8), torch.rand(1, 3, 8, 8))
    after = unet.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(p.requires_grad and p.dtype == torch.float32 for p in unet.parameters())


def test_result_names_every_layer_and_is_json(unet):
    result = audit(unet, (1, 3, 8, 8))
    names = [layer.name for layer in result.layers if layer.operation == "aten::conv2d"]
    assert names == ["stem", "down", "middle", "up", "head"]
    table = result.table()
    assert "middle" in table and "kernel bound" in table and "upper bound" in table
    data = json.loads(json.dumps(result.to_dict()))
    assert data["upper"] == result.upper and data["lower"] is None and data["gap"] is None
    assert data["input_shape"] == [1, 3, 8, 8]
    assert sum(abs(layer["share"]) for layer in data["layers"]) == pytest.approx(1)


def test_training_mode_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(0.5)).eval()
    model[1].train()
    with pytest.raises(AuditError, match="training mode.*'1'"):
        audit(model, (1, 3, 4, 4))


def test_weights_that_move_in_evaluation_must_be_folded_first():
    model = nn.Sequential(AdaptiveOrthoConv2d(3, 4, 3, padding_mode="zeros")).eval()
    with pytest.raises(AuditError, match="folded"):
        audit(model, (1, 3, 4, 4))
    assert audit(fold(model), (1, 3, 4, 4)).upper <= 1 + 1e-3


def test_buffers_that_change_are_refused_by_name():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls.add_(1)
            return x * self.calls

    with pytest.raises(AuditError, match="calls"):
        audit(Counter().eval(), (1, 3))


def test_wrong_rule_is_found_by_the_measurement(monkeypatch):
    monkeypatch.setitem(RULES, "aten::conv2d", lambda call, w: [(call["input"], w * 0.01)])
    with pytest.raises(AuditError, match="exceeds the upper bound"):
        audit(nn.Conv2d(3, 3, 3).eval(), (1, 3, 8, 8), torch.rand(1, 3, 8, 8))


def test_model_that_is_not_the_traced_map_is_found_at_the_samples():
    class Moody(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x):
            return self.linear(x) * (1 if torch.compiler.is_exporting() else -5)

    with pytest.raises(AuditError, match=f"differs from the model{UNTRACED}"):
        audit(Moody().eval(), (1, 3), torch.rand(1, 3))


class OtherWhenTraced(nn.Module):
    def forward(self, x):
        return x if torch.compiler.is_compiling() else 10 * x


class CountsItsCalls(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


@pytest.mark.parametrize("module", [OtherWhenTraced, CountsItsCalls])
def test_model_that_is_not_the_traced_map_is_found_without_samples(module):
    with pytest.raises(AuditError, match=f"the traced graph differs from the model{UNTRACED}"):
        audit(module().eval(), (1, 2, 4, 4))


class Fades(nn.Module):
    """Ever larger by so little that two runs agree."""

    def __init__(self):
        super().__init__()
        self.state = dict(calls=[0])
        self.table = torch.zeros(2)
        self.weight = nn.Parameter(torch.ones(1))


class FadesByACount(Fades):
    def forward(self, x):
        self.state["calls"][0] += 1
        return x * (1 + self.state["calls"][0] / 1e6)


class FadesByATensor(Fades):
    def forward(self, x):
        with torch.no_grad():
            self.table = self.table + 1e-6
        return x * (1 + self.table[0])


class FadesByAParameter(Fades):
    def forward(self, x):
        with torch.no_grad():
            self.weight.add_(1e-6)
        return x * self.weight


@pytest.mark.parametrize(
    "module, name",
    [(FadesByACount, "state"), (FadesByATensor, "table"), (FadesByAParameter, "weight")],
)
@pytest.mark.parametrize("samples", [None, torch.rand(1, 2, 4, 4)])
def test_model_that_changes_when_it_runs_is_refused_by_name(module, name, samples):
    with pytest.raises(AuditError, match=f"{name}.* change when the model runs{UNTRACED}"):
        audit(module().eval(), (1, 2, 4, 4), samples)


class Slotted:
    __slots__ = ("calls",)

    def __init__(self):
        self.calls = 0


def count_up(state):
    state.calls += 1


HIDDEN = {
    "namespace": (lambda: types.SimpleNamespace(calls=0), count_up),
    "slots": (Slotted, count_up),
    "deque": (collections.deque, lambda state: state.append(0)),
    "rotation": (lambda: collections.deque([1, 2, 3]), lambda state: state.rotate()),
    "set": (set, lambda state: state.add(len(state))),
    "count": (itertools.count, next),
    "bytearray": (bytearray, lambda state: state.append(1)),
    "array": (lambda: array.array("i"), lambda state: state.append(1)),
}


class KeepsCount(nn.Module):
    def __init__(self, state, step):
        super().__init__()
        self.state, self.step = state, step

    def forward(self, x):
        self.step(self.state)
        return 1 * x


@pytest.mark.parametrize("name", HIDDEN)
def test_state_in_any_object_is_seen_to_change(name):
    state, step = HIDDEN[name]
    with pytest.raises(AuditError, match=f"state change when the model runs{UNTRACED}"):
        audit(KeepsCount(state(), step).eval(), (1, 2))


def test_answer_that_changes_during_the_audit_without_visible_state_is_found():
    calls = []

    class Turns(nn.Module):
        def forward(self, x):
            calls.append(0)
            return x * (1 if len(calls) < 7 else 10)

    with pytest.raises(AuditError, match="answer to the same input has changed"):
        audit(Turns().eval(), (1, 2))


SWITCHES = {
    "at large values": lambda x: torch.where(x.abs() > 100, 10 * x, x),
    "at zero": lambda x: x + (x == 0),
    "at one": lambda x: x + (x == 1).all(),
    "at edges": lambda x: x + F.relu(-1 - x.diff(dim=-1)).sum(),
    "below zero": lambda x: F.leaky_relu(x, 2.0),
    "at a sample": lambda x: x + (x == 0.125).all(),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_models_that_differ_from_their_graph_at_unusual_inputs_are_found(name):
    class Switch(nn.Module):
        def forward(self, x):
            return 1 * x if torch.compiler.is_exporting() else SWITCHES[name](x)

    with pytest.raises(AuditError, match=f"the traced graph differs from the model{UNTRACED}"):
        audit(Switch().eval(), (1, 2, 4, 4), torch.full((1, 2, 4, 4), 0.125))


OVERLAPS = {
    "expanded": lambda x: x[:, :1].expand(-1, 3, -1, -1).add_(1),
    "unfolded": lambda x: x.clone().unfold(3, 2, 1).mul_(2),
    "strided": lambda x: x.clone().as_strided((1, 2, 4, 4), (32, 16, 1, 1)).mul_(2),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_writing_to_memory_that_overlaps_is_refused(name):
    class Writes(nn.Module):
        def forward(self, x):
            return OVERLAPS[name](x)

    with pytest.raises(AuditError):
        audit(Writes().eval(), (1, 2, 4, 4))


class RemembersItsGrid(nn.Module):
    grid = None

    def forward(self, x):
        if self.grid is None or self.grid.device != x.device:
            self.grid = torch.linspace(0, 1, x.shape[-1], device=x.device)
        return x * self.grid


def test_what_a_model_computes_once_may_stay():
    model = RemembersItsGrid().eval()
    model(torch.zeros(1, 2, 4, 4))
    assert audit(model, (1, 2, 4, 4)).upper == pytest.approx(1)


class Step(nn.Module):
    """One operation that no rule can bound."""

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.generator = torch.Generator()

    def forward(self, x):
        if self.name == "item":
            return x + x.max().item()
        if self.name == "generator":
            return x + torch.rand(x.shape, generator=self.generator)
        return F.linear(x, torch.ones(4))


@pytest.mark.parametrize("name, operation", [("item", "add.* a number"), ("linear", "linear")])
def test_what_has_no_rule_is_named(name, operation):
    model = nn.Sequential(nn.Identity(), Step(name)).eval()
    with pytest.raises(UnboundedOperationError, match=operation) as caught:
        audit(model, (1, 2, 4, 4))
    assert caught.value.module_path == "1"


def test_generators_are_refused():
    with pytest.raises(AuditError, match="rand|trace"):
        audit(Step("generator").eval(), (1, 2, 4, 4))


def test_inference_mode_does_not_disturb(unet):
    expected = audit(unet, (1, 3, 16, 16), torch.rand(1, 3, 16, 16), steps=2)
    with torch.inference_mode():
        found = audit(unet, (1, 3, 16, 16), torch.rand(1, 3, 16, 16), steps=2)
        assert torch.is_inference_mode_enabled()
    assert found.upper == pytest.approx(expected.upper, rel=1e-6)
    assert 0 < found.lower <= found.upper * (1 + 1e-4)


def test_control_flow_that_depends_on_values_is_refused():
    class Branch(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(AuditError, match="could not trace"):
        audit(Branch().eval(), (1, 3))


def test_samples_of_another_shape_are_refused(unet):
    with pytest.raises(ValueError, match="samples must have shape"):
        audit(unet, (1, 3, 8, 8), torch.rand(1, 3, 16, 16))


def test_weights_that_are_not_finite_are_refused():
    model = nn.Sequential(nn.Conv2d(3, 3, 1)).eval()
    nn.init.constant_(model[0].weight, float("inf"))
    with pytest.raises(UnboundedOperationError, match="conv2d in module '0': .*finite"):
        audit(model, (1, 3, 4, 4))


def test_several_outputs_are_bounded_jointly():
    class Pair(nn.Module):
        def forward(self, x):
            return {"one": x, "two": [x, 2 * x]}

    assert audit(Pair().eval(), (1, 3)).upper == pytest.approx(6**0.5)


# --- blocks with their own proof ---------------------------------------------------------------

BLOCKS = {
    "sll": (lambda: SDPBasedLipschitzResBlock(4, 2), (1, 4, 6, 6)),
    "sll groups": (lambda: SDPBasedLipschitzResBlock(4, 2, groups=2), (1, 4, 6, 6)),
    "sll dense": (lambda: SDPBasedLipschitzDense(6, 6, 9), (2, 6)),
    "aoc residual": (lambda: AOCLipschitzResBlock(4, 2, 3), (1, 4, 6, 6)),
    "aoc residual zeros": (
        lambda: AOCLipschitzResBlock(4, 2, 3, padding_mode="zeros"),
        (1, 4, 6, 6),
    ),
    "aol": (lambda: AOLConv2D(4, 6, 3, padding=1), (1, 4, 6, 6)),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_proved_one_lipschitz_on_their_weights(name, jacobian_norm):
    build, shape = BLOCKS[name]
    model = build()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    if name.startswith("aoc"):
        fold(model)
    model.eval()
    result = audit(model, shape, torch.randn(2, *shape[1:]))
    assert result.upper <= 1 + 1e-4
    assert result.lower <= result.upper * (1 + 1e-5)
    # Not parametrised any more, with weights that break the condition: the bound must grow.
    broken = fold(model)
    for parameter_name, parameter in broken.named_parameters():
        if parameter_name.split(".")[-1] in ("kernel", "weight"):
            parameter.data *= 3
    worse = audit(broken, shape, torch.randn(2, *shape[1:]))
    if name == "sll dense":
        # Its scaling is recomputed from the weights in every forward pass.
        assert worse.upper <= 1 + 1e-4
    else:
        assert worse.upper >= worse.lower > 1.05


class Residual(nn.Module):
    """`x - V act(U x + b)` with two kernels of its own."""

    def __init__(self, first, second, activation):
        super().__init__()
        self.first, self.second = nn.Parameter(first), nn.Parameter(second)
        self.activation = activation

    def forward(self, x):
        inner = self.activation(F.conv2d(x, self.first, padding=1) + 0.1)
        return x - F.conv2d(inner, self.second, padding=1)


@pytest.mark.parametrize("scale", [0.5, 2.0, -1.0])
@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("activation", [F.relu, lambda x: F.leaky_relu(x, -0.5)])
def test_residual_condition_accounts_for_every_deviation(scale, noise, activation, jacobian_norm):
    first = 0.4 * torch.randn(5, 3, 3, 3)
    second = scale * first.transpose(0, 1).flip(2, 3)
    second = second + noise * torch.randn_like(second)
    model = Residual(first, second, activation).eval()
    upper = audit(model, (1, 3, 5, 5)).upper
    model.double()
    worst = max(jacobian_norm(model, 3 * torch.randn(1, 3, 5, 5)) for _ in range(4))
    assert worst <= upper * (1 + 1e-9)


class ResidualOfOneImage(nn.Module):
    """A residual of a single image's channels: height is where the batch would have channels."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.eye(3).view(3, 3, 1, 1))
        self.register_buffer("rows", torch.linspace(1, 1000, 3).view(1, 3, 1))

    def forward(self, x):
        inner = F.relu(F.conv2d(x[0], self.kernel) * self.rows)
        return x[0] - F.conv2d(inner, self.kernel)


def test_residual_of_an_image_without_batch_is_not_taken_for_one_with(jacobian_norm):
    model = ResidualOfOneImage().eval()
    with pytest.raises(UnboundedOperationError, match="only 2-D convolutions"):
        audit(model, (1, 3, 3, 3))
    assert jacobian_norm(model.double(), torch.ones(1, 3, 3, 3)) > 900


# --- classical mistakes: refused, or given the right, larger bound -------------------------------


class Planted(nn.Module):
    """A U-Net with one mistake before or after it."""

    def __init__(self, unet, before=None, after=None):
        super().__init__()
        self.before, self.unet, self.after = before, unet, after

    def forward(self, x):
        x = self.unet(x if self.before is None else self.before(x))
        return x if self.after is None else self.after(x)


def planted_bound(unet, **mistake):
    model = Planted(unet, **mistake).eval()
    return audit(model, (1, 3, 8, 8), torch.rand(1, 3, 8, 8))


class Divide(nn.Module):
    def __init__(self, std):
        super().__init__()
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, x):
        return (x - 0.5) / self.std


def test_planted_second_division_by_std_multiplies_the_bound(unet):
    result = planted_bound(unet, before=Divide([0.2, 0.25, 0.5]))
    assert result.upper == pytest.approx(5, rel=1e-3)
    assert result.lower > 2


def test_planted_bilinear_upsampling_multiplies_the_bound(unet):
    up = nn.Upsample(scale_factor=2, mode="bilinear")
    result = planted_bound(unet, after=up)
    assert 1.8 < result.upper <= 2.01
    assert result.lower > 1.2


def test_planted_reflect_padding_is_given_its_repetitions():
    conv = AdaptiveOrthoConv2d(3, 3, 3, padding_mode="reflect", padding=1)
    result = audit(fold(conv), (1, 3, 8, 8), torch.rand(1, 3, 8, 8))
    assert result.upper == pytest.approx(2, rel=1e-3)
    assert result.lower > 1.1


def test_planted_plain_residual_sum_adds_the_norms():
    class PlainResidual(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = AdaptiveOrthoConv2d(4, 4, 3, padding_mode="zeros")

        def forward(self, x):
            return x + self.conv(x)

    result = audit(fold(PlainResidual()), (1, 4, 8, 8), torch.rand(1, 4, 8, 8))
    assert result.upper == pytest.approx(2, rel=1e-3)
    assert result.lower > 1.6


def test_planted_spectral_norm_of_a_convolution_shows_its_true_norm():
    conv = nn.utils.parametrizations.spectral_norm(nn.Conv2d(8, 8, 3, padding=1, bias=False))
    conv.train()
    for _ in range(50):
        conv(torch.rand(1, 8, 4, 4))
    conv.eval()
    result = audit(conv, (1, 8, 8, 8), torch.rand(1, 8, 8, 8))
    assert result.upper >= result.lower > 1.3


def test_planted_orthogonal_parametrisation_of_a_1x1_convolution_is_not_orthogonal():
    conv = nn.utils.parametrizations.orthogonal(nn.Conv2d(8, 8, 1, bias=False)).eval()
    result = audit(conv, (1, 8, 4, 4), torch.rand(1, 8, 4, 4))
    assert conv.weight.shape == (8, 8, 1, 1)
    truth = float(torch.linalg.matrix_norm(conv.weight.detach()[:, :, 0, 0], 2))
    assert truth > 2
    assert truth <= result.upper <= 1.001 * truth


def test_planted_grouped_convolution_takes_its_largest_group():
    conv = nn.Conv2d(4, 4, 1, groups=2, bias=False).eval()
    conv.weight.data = torch.cat([0.5 * torch.eye(2), 3 * torch.eye(2)]).view(4, 2, 1, 1)
    assert audit(conv, (1, 4, 4, 4)).upper == pytest.approx(3)


def test_planted_overlapping_max_pooling_counts_its_windows(unet):
    result = planted_bound(unet, after=nn.MaxPool2d(3, stride=1, padding=1))
    assert result.upper == pytest.approx(3, rel=1e-3)
    overlap = nn.MaxPool2d(3, stride=2, padding=1).eval()
    assert audit(overlap, (1, 1, 8, 8)).upper == pytest.approx(2)
    spike = torch.zeros(1, 1, 7, 7)
    spike[0, 0, 3, 3] = 1
    change = torch.linalg.vector_norm(overlap(spike) - overlap(torch.zeros(1, 1, 7, 7)))
    assert float(change) == pytest.approx(2)


def test_planted_normalisation_by_the_image_is_refused(unet):
    with pytest.raises(UnboundedOperationError, match="norm"):
        planted_bound(unet, before=nn.InstanceNorm2d(3))
