import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmseg_lipcert.utils.rounding import (
    check_distinct,
    confidence,
    gray_levels,
    mean_count,
    percent,
    significant,
)

shares = st.floats(0, 1)
radii = st.floats(0, 1e12, allow_subnormal=False).filter(lambda x: x == 0 or x > 1e-12)


@given(shares)
def test_shares_are_rounded_to_the_safe_side(value):
    low, high = (float(percent(value, up=up)[:-1]) / 100 for up in (False, True))
    assert low <= value * (1 + 1e-15) and value <= high * (1 + 1e-15)
    assert high - low <= 1.0001e-4


@given(radii, st.integers(2, 7))
def test_radii_are_rounded_down(value, digits):
    text = significant(value, digits)
    assert "e" not in text.lower()
    assert value * (1 - 10.0 ** (1 - digits)) <= float(text) <= value


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.57, "57.00%"), (0.29, "29.00%"), (1.0, "100.00%"), (0.712399, "71.23%"), (None, "–")],
)
def test_exact_shares_stay_exact(value, text):
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (100.0, "100"),
        (0, "0"),
        (123456.0, "123400"),
        ("inf", "∞"),
        (math.inf, "∞"),
        (None, "–"),
    ],
)
def test_radii_as_text(value, text):
    assert significant(value) == text


@pytest.mark.parametrize(
    ("alpha", "statements", "text"),
    [
        (0.001, 1, "99.9%"),
        (1e-6, 1, "99.9999%"),
        (0.5, 1, "50%"),
        (0.001, 117, "88.30%"),
        (0.1, 10, None),
        (0.3, 4, None),
    ],
)
def test_confidence_of_several_statements(alpha, statements, text):
    assert confidence(alpha, statements) == text


@given(st.floats(0, 100))
def test_gray_levels_fit_into_the_norm(eps):
    count = int(gray_levels(eps).replace(",", ""))
    assert math.sqrt(count) / 255 <= eps * (1 + 1e-12) + 1e-300
    assert math.sqrt(count + 1) / 255 > eps * (1 - 1e-12)


def test_radii_that_tables_cannot_tell_apart_are_named():
    check_distinct([0.1, 0.1001, 0.0], "eps")
    with pytest.raises(ValueError, match="eps: 0.1 and 0.10001 are both written 0.1:"):
        check_distinct([0.1, 0.2, 0.10001], "eps")
    with pytest.raises(ValueError, match="eps: 0.1 and 0.1 are both"):
        check_distinct([0.1, 0.1], "eps")


def test_mean_counts_are_rounded_up_and_may_be_undefined():
    assert [mean_count(v) for v in (0.0, 1.5, 0.101, 2 / 3)] == ["0.00", "1.50", "0.11", "0.67"]
    assert mean_count(None) == mean_count(math.nan) == "–"
