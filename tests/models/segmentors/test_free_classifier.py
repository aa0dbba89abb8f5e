"""Only a network that ends in classifier times features is certified through its classifier."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_lipcert.lipschitz import AuditError
from mmseg_lipcert.models.segmentors.free_classifier import without_classifier


class Head(nn.Module):
    def __init__(self, classifier, behind=None):
        super().__init__()
        self.conv_seg = classifier
        self.behind = behind or nn.Identity()

    def forward(self, features):
        return self.behind(self.conv_seg(features))


class Network(nn.Module):
    def __init__(self, classifier, behind=None):
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 3, padding=1)
        self.decode_head = Head(classifier, behind)

    def forward(self, image):
        return self.decode_head(self.backbone(image))


class Cosine(nn.Conv2d):
    """Scores by angles."""

    def forward(self, x):
        return F.conv2d(F.normalize(x), F.normalize(self.weight))


def hooked(register, hook):
    classifier = nn.Conv2d(4, 6, 1)
    getattr(classifier, register)(hook)
    return classifier


CLASSIFIERS = {
    "cosine": Cosine(4, 6, 1),
    "3x3": nn.Conv2d(4, 6, 3, padding=1),
    "stride": nn.Conv2d(4, 6, 1, stride=2),
    "padding": nn.Conv2d(4, 6, 1, padding=1),
    "groups": nn.Conv2d(4, 6, 1, groups=2),
    "sequential": nn.Sequential(nn.Conv2d(4, 6, 1), nn.Hardtanh()),
    "hook": hooked("register_forward_hook", lambda module, x, y: 10 * y),
    "hook before": hooked("register_forward_pre_hook", lambda module, x: (10 * x[0],)),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_other_classifiers_are_refused(name):
    with pytest.raises(AuditError, match="needs decode_head.conv_seg"):
        without_classifier(Network(CLASSIFIERS[name]).eval(), torch.randn(1, 3, 8, 8))


@pytest.mark.parametrize("behind", [nn.Softmax(1), nn.ReLU(), nn.Conv2d(6, 6, 1)])
def test_nothing_may_follow_the_classifier(behind):
    network = Network(nn.Conv2d(4, 6, 1), behind).eval()
    with pytest.raises(AuditError, match="nothing may follow"):
        without_classifier(network, torch.randn(1, 3, 8, 8))


def test_an_instance_with_its_own_forward_is_refused():
    classifier = nn.Conv2d(4, 6, 1)
    classifier.forward = lambda x: F.conv2d(F.normalize(x), classifier.weight)
    with pytest.raises(AuditError, match="nothing may follow"):
        without_classifier(Network(classifier).eval(), torch.randn(1, 3, 8, 8))


def test_features_are_what_enters_the_classifier():
    network = Network(nn.Conv2d(4, 6, 1)).eval()
    image = torch.randn(2, 3, 8, 8)
    features = without_classifier(network, image[:1])
    with torch.no_grad():
        assert torch.equal(features(image), network.backbone(image))
    assert isinstance(network.decode_head.conv_seg, nn.Conv2d)
