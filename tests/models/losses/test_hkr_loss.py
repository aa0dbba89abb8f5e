import pytest
import torch
from deel.torchlip import HKRMulticlassLoss
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from mmseg_lipcert.models.losses import HKRLoss


@given(
    seed=st.integers(0, 2**31),
    alpha=st.floats(0, 1),
    min_margin=st.floats(0.1, 3),
    classes=st.integers(2, 5),
)
def test_one_pixel_per_sample_is_the_loss_of_deel_torchlip(seed, alpha, min_margin, classes):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(12, classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (12,), generator=generator)
    expected = HKRMulticlassLoss(alpha, min_margin)(logits, F.one_hot(labels, classes))
    value = HKRLoss(alpha, min_margin)(logits[:, :, None, None], labels[:, None, None])
    assert value.item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-6)


def mean(pairs):
    """Weighted mean of (weight, value) pairs; 0 without any weight."""
    weight = sum(w for w, _ in pairs)
    return sum(w * v for w, v in pairs) / weight if weight > 0 else 0.0


@given(
    seed=st.integers(0, 2**31),
    alpha=st.floats(0, 1),
    class_weight=st.lists(st.sampled_from([0.0, 0.5, 1.0, 4.0]), min_size=3, max_size=3),
)
def test_matches_a_loop_over_pixels(seed, alpha, class_weight):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 2, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (2, 2, 4), generator=generator)
    labels[0, 0, :2] = 255
    pixels = [
        (class_weight[int(label)], z.tolist(), int(label))
        for z, label in zip(logits.movedim(1, -1).reshape(-1, 3), labels.flatten(), strict=True)
        if label != 255
    ]
    margin = 1.5
    hinges, transport = [], 0.0
    for weight, z, target in pixels:
        terms = [
            2 * max(0, margin / 2 - z[k]) if k == target else max(0, margin / 2 + z[k])
            for k in range(3)
        ]
        hinges.append((weight, sum(terms) / 3))
    for k in range(3):
        own = mean([(weight, z[k]) for weight, z, target in pixels if target == k])
        others = mean([(weight, z[k]) for weight, z, target in pixels if target != k])
        transport += (own - others) / 3
    expected = alpha * mean(hinges) - (1 - alpha) * transport
    value = HKRLoss(alpha, margin, class_weight)(logits, labels).item()
    if not any(weight for weight, _, _ in pixels):
        expected = 0.0
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_light_group_is_seen_beside_a_heavy_one():
    # In float32, 2^25 + 1 is 2^25: nothing would be left for the pixel that is not of class 0.
    logits = torch.tensor([[[[0.0, -1.0]], [[0.0, 0.0]]]])
    labels = torch.tensor([[[0, 1]]])
    value = HKRLoss(alpha=0.0, class_weight=[2.0**25, 1.0])(logits, labels)
    assert value.item() == pytest.approx(-0.5)
