import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from mmseg_lipcert.models.losses import TemperatureCrossEntropyLoss


def naive(logits, labels, temperature, class_weight):
    """Sum over valid pixels, one at a time, in plain floats."""
    total, divisor = 0.0, 0.0
    for image, label in zip(logits, labels, strict=True):
        for row in range(label.shape[0]):
            for column in range(label.shape[1]):
                target = int(label[row, column])
                if target == 255:
                    continue
                scaled = [temperature * float(z) for z in image[:, row, column]]
                log_sum = math.log(math.fsum(math.exp(z) for z in scaled))
                total += class_weight[target] * (log_sum - scaled[target])
                divisor += class_weight[target]
    return total / divisor


@given(
    seed=st.integers(0, 2**31),
    temperature=st.floats(0.1, 30),
    class_weight=st.lists(st.floats(0.1, 5), min_size=3, max_size=3),
)
def test_matches_a_loop_over_pixels(seed, temperature, class_weight):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 2, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (2, 2, 4), generator=generator)
    labels[0, 0, :2] = 255
    value = TemperatureCrossEntropyLoss(temperature, class_weight)(logits, labels).item()
    # The weights are stored in float32.
    assert value == pytest.approx(naive(logits, labels, temperature, class_weight), rel=1e-6)


def test_temperature_one_is_the_cross_entropy_of_pytorch():
    logits, labels = torch.randn(2, 5, 3, 3), torch.randint(5, (2, 3, 3))
    labels[0, 0, 0] = 255
    class_weight = [0.1, 1.0, 2.0, 0.3, 4.0]
    expected = F.cross_entropy(logits, labels, weight=torch.tensor(class_weight), ignore_index=255)
    assert torch.allclose(TemperatureCrossEntropyLoss(1.0, class_weight)(logits, labels), expected)


def test_counting_ignored_pixels_in_the_mean():
    logits, labels = torch.randn(1, 3, 4, 4), torch.randint(3, (1, 4, 4))
    labels[0, :3] = 255
    full = TemperatureCrossEntropyLoss(2.0)(logits, labels)
    diluted = TemperatureCrossEntropyLoss(2.0, avg_non_ignore=False)(logits, labels)
    assert torch.allclose(diluted, full / 4)
