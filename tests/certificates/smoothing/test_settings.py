import dataclasses

import pytest

from mmseg_lipcert.certificates.smoothing.settings import SmoothingSettings

GOOD = dict(sigma=0.25, n0=10, n=100, alpha=0.001, taus=(0.75, 0.6))


def test_alpha_is_shared_and_radii_follow():
    settings = SmoothingSettings(**GOOD)
    assert settings.alpha_per_tau == 0.0005
    assert settings.radii == pytest.approx((0.168622, 0.063337), abs=1e-6)
    assert SmoothingSettings(**{**GOOD, "taus": [0.75]}).taus == (0.75,)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.alpha = 0.1


@pytest.mark.parametrize(
    "change, message",
    [
        ({"sigma": 0.0}, "sigma must be .* got 0.0"),
        ({"n0": 0}, "n0 must be .* got 0"),
        ({"n": 1.5}, "n must be .* got 1.5"),
        ({"alpha": 1.0}, "alpha must be .* got 1.0"),
        ({"alpha": 5e-324}, "alpha must be at least 1e-290, got 5e-324"),
        ({"taus": ()}, "taus must be .* got ()"),
        ({"taus": (0.6, 0.6)}, "taus must be .* got .0.6, 0.6"),
        ({"n": 2**64}, "n must be .* got 18446744073709551616"),
        ({"taus": (0.3,)}, "tau must be .* got 0.3"),
        ({"correction": "sidak"}, "correction must be .* got 'sidak'"),
        ({"k": 2}, "k must be 1 .* got 2"),
        ({"correction": "k-fwer", "k": 0}, "k must be .* got 0"),
    ],
)
def test_bad_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        SmoothingSettings(**{**GOOD, **change})


@pytest.mark.parametrize(
    "correction, k, floor", [("holm", 1, 75), ("k-fwer", 100, 59), ("metric", 1, 50)]
)
def test_too_few_draws_name_the_number_that_suffices(correction, k, floor):
    settings = {**GOOD, "taus": (0.75,), "correction": correction, "k": k}
    SmoothingSettings(**{**settings, "n": floor}).check_floor(2097152)
    with pytest.raises(ValueError, match=f"n must be at least {floor}"):
        SmoothingSettings(**{**settings, "n": floor - 1}).check_floor(2097152)
