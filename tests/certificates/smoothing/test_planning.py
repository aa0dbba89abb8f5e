"""Predictions from a few draws against what many draws find."""

import numpy as np
import pytest
from scipy.stats import binom

from mmseg_lipcert.certificates.smoothing.binomial import p_value_table, plateau_start
from mmseg_lipcert.certificates.smoothing.corrections import holm_threshold
from mmseg_lipcert.certificates.smoothing.metric_level import metric_level_k
from mmseg_lipcert.certificates.smoothing.planning import hit_probabilities, predict
from mmseg_lipcert.certificates.smoothing.settings import SmoothingSettings

PIXELS = 200_000


def probabilities(seed=0):
    random = np.random.default_rng(seed)
    sure, unsure = random.beta(200, 0.7, 7 * PIXELS // 10), random.beta(3, 1, 3 * PIXELS // 10)
    return np.concatenate([sure, unsure])


def histogram_of(p, draws, seed=1):
    hits = np.random.default_rng(seed).binomial(draws, p)
    return np.bincount(hits, minlength=draws + 1)


def settings_of(correction="holm", n=97, tau=0.75, **options):
    return SmoothingSettings(0.25, 5, n, 0.001, (tau,), correction, **options)


@pytest.mark.parametrize("correction", ["holm", "bonferroni", "k-fwer", "metric"])
@pytest.mark.parametrize(("n", "tau"), [(97, 0.75), (150, 0.75), (100, 0.6)])
def test_certified_shares_are_predicted_from_forty_draws(correction, n, tau):
    p = probabilities()
    right, other = p[::2], p[1::2] ** 3
    settings = settings_of(correction, n, tau, k=5 if correction == "k-fwer" else 1)
    pilot = [histogram_of(part, 40) for part in (right, other)]
    (found,) = predict(*pilot, np.zeros(41), settings)
    drawn = histogram_of(right, n, 2), histogram_of(other, n, 3)
    if correction == "metric":
        threshold = metric_level_k(n, tau, settings.alpha_per_event)
    else:
        threshold = holm_threshold(sum(drawn), n, tau, 0.001, correction, settings.k)
    certified = sum(drawn)[threshold:].sum() / PIXELS
    accuracy = drawn[0][threshold:].sum() / PIXELS - 0.002 * (correction == "metric")
    assert found.certified == pytest.approx(certified, abs=0.015)
    assert found.accuracy == pytest.approx(accuracy, abs=0.015)


def test_the_spread_of_probabilities_explains_the_hits():
    histogram = histogram_of(probabilities(), 40)
    spread = hit_probabilities(histogram)
    assert spread.sum() == pytest.approx(PIXELS) and (spread >= 0).all()
    assert hit_probabilities(np.zeros(41)).sum() == 0
    # One probability for all pixels is found again.
    alike = hit_probabilities(PIXELS * binom.pmf(np.arange(41), 40, 0.9))
    (certified,) = predict(
        PIXELS * binom.pmf(np.arange(41), 40, 0.9), 0 * histogram, 0 * histogram, settings_of(n=97)
    )
    assert alike.sum() == pytest.approx(PIXELS)
    assert certified.certified == pytest.approx(binom.sf(94, 97, 0.9), abs=0.02)


def test_plateaus_begin_where_one_more_miss_is_allowed():
    level = 0.001 / 2_097_152
    found = [plateau_start(n, 0.75, level) for n in (75, 86, 87, 96, 97, 99, 105, 106)]
    assert found == [75, 75, 87, 87, 97, 97, 97, 106]
    assert plateau_start(74, 0.75, level) == 74

    def misses(n):
        return int((p_value_table(n, 0.75) <= level).sum())

    assert misses(86) < misses(87) == misses(96) < misses(97)
    assert settings_of(n=99).plateau_start(2_097_152) == 97
    assert settings_of("metric", n=60).plateau_start(10**6) == 50
    two = SmoothingSettings(0.25, 5, 99, 0.001, (0.75, 0.6))
    level = 0.0005 / 2_097_152
    assert two.plateau_start(2_097_152) == max(
        plateau_start(99, 0.75, level), plateau_start(99, 0.6, level)
    )
