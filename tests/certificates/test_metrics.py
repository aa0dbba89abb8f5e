import math

import numpy as np
import pytest

from mmseg_lipcert.certificates.metrics import CLASS_METRICS, defined_mean, shares


def test_mean_leaves_undefined_values_out():
    assert defined_mean([0.5, math.nan, None, 1.0]) == 0.75
    assert math.isnan(defined_mean([math.nan, None]))
    assert defined_mean([1.0, math.inf]) == math.inf


def test_mean_does_not_depend_on_the_order():
    values = list(np.random.default_rng(0).random(1000) * 10.0 ** np.arange(1000) ** 0.5)
    assert defined_mean(values) == defined_mean(sorted(values))


def test_shares_of_nothing_are_undefined_and_losses_stop_at_zero():
    found = shares(np.array([1, 3, -2]), np.array([4, 0, 5]))
    assert found[0] == 0.25 and math.isnan(found[1]) and found[2] == 0
    assert shares(3, 4).item() == pytest.approx(0.75)


def test_a_lost_true_positive_never_weighs_less_than_a_made_false_positive():
    ratios = [metric.ratio for metric in CLASS_METRICS if metric.ratio]
    assert ratios and all(ratio.factor >= 1 + ratio.drop for ratio in ratios)
