from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_lipcert.lipschitz import AuditError

# Largest relative difference between the logits and those of the separate parts.
_AGREEMENT = 1e-4


def without_classifier(network: nn.Module, image: Tensor) -> nn.Module:
    """The features of a network with a free classifier: its copy up to the last 1x1 convolution.

    Flip costs are computed from the features' bound and the classifier's rows, so that the logits
    must be these rows times the features, pixel by pixel, and nothing else.

    Args:
        network (nn.Module): The network from preprocessed images to logits; its
            ``decode_head.conv_seg`` is the classifier.
        image (Tensor): Preprocessed images (N, 3, H, W) at which this is checked.

    Raises:
        AuditError: If the classifier is no plain 1x1 convolution, or logits are something else
            than classifier times features.
    """
    classifier = network.decode_head.conv_seg
    plain = (
        type(classifier) is nn.Conv2d
        and classifier.kernel_size == classifier.stride == (1, 1)
        and classifier.padding == (0, 0)
        and classifier.groups == 1
        and not classifier._forward_hooks
        and not classifier._forward_pre_hooks
    )
    if not plain:
        raise AuditError(
            "free_classifier=True needs decode_head.conv_seg to be an nn.Conv2d of kernel and "
            f"stride 1 without padding, groups or hooks, got {classifier}"
        )
    features = copy.deepcopy(network)
    features.decode_head.conv_seg = nn.Identity().eval()
    if not _agree(network, features, classifier, image):
        raise AuditError(
            "the logits are not decode_head.conv_seg times its input: with free_classifier=True "
            "nothing may follow the classifier"
        )
    return features


@torch.no_grad()
def _agree(network: nn.Module, features: nn.Module, classifier: nn.Conv2d, image: Tensor) -> bool:
    logits = network(image)
    try:
        product = F.conv2d(features(image), classifier.weight, classifier.bias)
    except RuntimeError:  # what follows the classifier may not accept features at all
        return False
    if logits.shape != product.shape:
        return False
    return bool((logits - product).norm() <= _AGREEMENT * logits.norm())
