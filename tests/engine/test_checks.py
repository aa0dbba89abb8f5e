import pytest
import torch
from torch import nn

from mmseg_lipcert.engine import CertificationError, check_state_dict
from mmseg_lipcert.engine.checks import check_checkpoint, check_weights, use_full_precision


def test_complete_checkpoint_passes_with_or_without_the_ddp_prefix():
    model = nn.BatchNorm2d(3)
    check_state_dict(model, model.state_dict())
    check_state_dict(model, {f"module.{key}": v for key, v in model.state_dict().items()})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state: state.pop("running_var"), "1 missing: running_var"),
        (lambda state: state.update(extra=torch.zeros(1)), "1 unexpected: extra"),
        (lambda state: state.update(bias=torch.zeros(4)), "1 of another shape: bias"),
    ],
)
def test_what_does_not_fit_is_named(edit, message):
    model = nn.BatchNorm2d(3)
    state = dict(model.state_dict())
    edit(state)
    with pytest.raises(CertificationError, match=message):
        check_state_dict(model, state)


def test_long_lists_are_cut():
    with pytest.raises(CertificationError, match="5 missing: .*, .*, .* and 2 more"):
        check_state_dict(nn.BatchNorm2d(3), {})


def test_what_inference_does_not_use_may_be_missing_or_left_over():
    model = nn.BatchNorm2d(3)
    state = dict(model.state_dict())
    state.pop("num_batches_tracked")
    state["auxiliary_head.weight"] = torch.zeros(1)
    spare = r"^auxiliary_head\.|num_batches_tracked$"
    check_state_dict(model, state, spare)
    with pytest.raises(CertificationError, match="num_batches_tracked"):
        check_state_dict(model, state)
    state.pop("running_mean")
    with pytest.raises(CertificationError, match="1 missing: running_mean"):
        check_state_dict(model, state, spare)


def test_weights_that_are_no_numbers_are_named():
    state = dict(nn.BatchNorm2d(3).state_dict())
    check_weights(state)
    state["bias"] = torch.tensor([0.0, float("nan"), 1.0])
    with pytest.raises(CertificationError, match="weights contain NaN: bias"):
        check_weights(state)
    with pytest.raises(CertificationError, match="weights contain NaN: bias"):
        check_checkpoint(nn.BatchNorm2d(3), state)


@pytest.fixture
def own_precision():
    backends = torch.backends
    if not hasattr(backends, "fp32_precision"):
        pytest.skip("this PyTorch has no such switch")
    scopes = [backends, backends.cudnn, backends.cudnn.conv, backends.mkldnn, backends.mkldnn.conv]
    before = [scope.fp32_precision for scope in scopes]
    yield
    for scope, value in zip(scopes, before, strict=True):
        scope.fp32_precision = value


@pytest.mark.parametrize("name", ["", "cudnn", "cudnn.conv", "mkldnn", "mkldnn.conv"])
def test_reduced_precision_is_off_whichever_switch_turned_it_on(name, own_precision):
    scope = torch.backends
    for part in name.split(".") if name else ():
        scope = getattr(scope, part)
    scope.fp32_precision = "bf16" if name.startswith("mkldnn") else "tf32"
    use_full_precision()
    assert scope.fp32_precision == "ieee"
    assert not torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"
