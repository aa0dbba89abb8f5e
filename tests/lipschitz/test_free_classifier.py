"""Only a graph that ends in classifier times features is certified through its classifier."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_lipcert.lipschitz import AuditError, UnboundedOperationError, audit

SHAPE = (1, 3, 8, 8)


class Network(nn.Module):
    """A backbone of norm 2, a classifier, and what may stand around it."""

    def __init__(self, classifier=None, behind=None, front=None):
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 1, bias=False)
        self.backbone.weight.data = 2 * torch.eye(4)[:, :3].reshape(4, 3, 1, 1)
        self.conv_seg = classifier or nn.Conv2d(4, 6, 1)
        self.behind = behind or nn.Identity()
        self.front = front or nn.Identity()

    def forward(self, image):
        return self.behind(self.conv_seg(self.front(self.backbone(image))))


class Behind(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, logits):
        return self.function(logits)


def audited(network, samples=None):
    return audit(network.eval(), SHAPE, samples, steps=3, free_classifier=True)


def test_features_are_bounded_and_the_classifier_is_returned():
    network = Network()
    nn.init.normal_(network.conv_seg.weight, std=100)
    result = audited(network, torch.randn(1, *SHAPE[1:]))
    assert result.lower == pytest.approx(2, rel=1e-4)
    assert result.upper == pytest.approx(2)
    assert torch.equal(result.classifier, network.conv_seg.weight.detach().flatten(1))
    assert audit(network, SHAPE).classifier is None


HARMLESS = {
    "crop": lambda z: z[:, :, :-1, 2:],
    "constants": lambda z: 3 - torch.ones(6, 1, 1) + z - torch.eye(8),
    "constants and crop": lambda z: torch.sub(z, torch.ones(6, 1, 1), alpha=2)[:, :, ::2],
}


@pytest.mark.parametrize("name", HARMLESS)
def test_crops_and_constants_may_follow(name):
    assert audited(Network(behind=Behind(HARMLESS[name]))).upper == pytest.approx(2)


FOLLOWED = {
    "softmax": nn.Softmax(1),
    "relu": nn.ReLU(),
    "second convolution": nn.Conv2d(6, 6, 3),
    "scale": Behind(lambda z: 2 * z),
    "negative": Behind(lambda z: 1 - z),
    "some classes": Behind(lambda z: z[:, 1:]),
    "sum with itself": Behind(lambda z: z + z.flip(1)),
    "repetition": Behind(lambda z: z + torch.zeros(2, 6, 8, 8)),
    "resize": nn.Upsample(scale_factor=2),
    "two outputs": Behind(lambda z: (z, z[:, :1])),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_nothing_else_may_follow_the_classifier(name):
    with pytest.raises(AuditError, match="must be the result of a 1x1 conv|one output"):
        audited(Network(behind=FOLLOWED[name]))


class GatedShift(nn.Module):
    """Adds `relu(z1 - knee)` to class 0: closed at every input that an audit tries."""

    def forward(self, logits):
        gate = F.relu(logits[:, 1:2] - 1e9)
        return torch.cat([logits[:, :1] + gate, logits[:, 1:]], 1)


class GatedShiftInPlace(nn.Module):
    def forward(self, logits):
        logits[:, 0].add_(F.relu(logits[:, 1] - 1e9))
        return logits


@pytest.mark.parametrize("gate", [GatedShift, GatedShiftInPlace])
def test_a_gate_behind_the_classifier_that_is_closed_where_it_is_tried_is_refused(gate):
    network = Network(behind=gate())
    image = torch.rand(SHAPE)
    assert torch.equal(network(image), network.conv_seg(network.backbone(image)))
    with pytest.raises(AuditError, match="they end in aten::"):
        audited(network)


CLASSIFIERS = {
    "3x3": nn.Conv2d(4, 6, 3, padding=1),
    "stride": nn.Conv2d(4, 6, 1, stride=2),
    "padding": nn.Conv2d(4, 6, 1, padding=1),
    "groups": nn.Conv2d(4, 6, 1, groups=2),
    "sequential": nn.Sequential(nn.Conv2d(4, 6, 1), nn.Hardtanh()),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_other_classifiers_are_refused(name):
    with pytest.raises(AuditError, match="must be the result of a 1x1 convolution"):
        audited(Network(CLASSIFIERS[name]))


def test_what_a_hook_does_to_the_result_is_seen():
    network = Network()
    network.conv_seg.register_forward_hook(lambda module, x, y: 10 * y)
    with pytest.raises(AuditError, match="they end in aten::mul"):
        audited(network)


def test_what_happens_in_front_of_the_classifier_belongs_to_the_features():
    network = Network()
    network.conv_seg.register_forward_pre_hook(lambda module, x: (10 * x[0],))
    assert audited(network).upper == pytest.approx(20)
    with pytest.raises(UnboundedOperationError, match="aten::div"):
        audited(Network(front=Behind(F.normalize)))


def test_the_weight_is_that_which_runs():
    network = Network()
    network.conv_seg.forward = lambda x: F.conv2d(x, 3 * network.conv_seg.weight)
    result = audited(network)
    torch.testing.assert_close(result.classifier, 3 * network.conv_seg.weight.flatten(1).detach())
    network.conv_seg.forward = lambda x: F.conv2d(x, x.mean((2, 3))[:, :, None, None])
    with pytest.raises(AuditError, match="must be the result of a 1x1 convolution"):
        audited(network)


def test_a_classifier_of_the_image_itself_has_features_of_norm_one():
    assert audited(nn.Conv2d(3, 5, 1)).upper == pytest.approx(1)


def test_features_are_measured_one_by_one():
    with pytest.raises(ValueError, match="the batch must be 1, got 2"):
        audit(Network().eval(), (2, 3, 8, 8), torch.rand(1, 3, 8, 8), free_classifier=True)
