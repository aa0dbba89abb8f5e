"""Numbers as text for a reader who signs: rounding never makes a guarantee look better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

#: Text of a value that is undefined.
UNDEFINED = "–"


def percent(value: float | None, *, up: bool = False) -> str:
    """Write a share as percent with two decimals.

    Args:
        value: Share in [0, 1]; None is undefined.
        up: Round up, as for shares of which less is better. Defaults to rounding down.
    """
    if value is None:
        return UNDEFINED
    rounding = ROUND_CEILING if up else ROUND_FLOOR
    return f"{(100 * _exact(value)).quantize(Decimal('0.01'), rounding)}%"


def percent_cell(value: float | None, *, up: bool = False) -> str:
    """Write a share as :func:`percent` does, for a table: without the sign, "-" if undefined."""
    if value is None or math.isnan(value):
        return "-"
    return percent(value, up=up).rstrip("%")


def significant(value: float | str | None, digits: int = 4) -> str:
    """Write a radius, rounded down, with a number of significant digits, without an exponent.

    Args:
        value: Not negative; infinite, also as ``"inf"`` in certificate.json; None if undefined.
        digits: Significant digits. Defaults to 4.
    """
    if value is None:
        return UNDEFINED
    number = _exact(float(value))
    if number.is_infinite():
        return "∞"
    if number:
        last = Decimal(1).scaleb(number.adjusted() - digits + 1)
        number = number.quantize(last, ROUND_FLOOR)
    # normalize() alone would write 100 as 1E+2.
    return f"{number.normalize():f}"


def mean_count(value: float | None) -> str:
    """Write a mean number of false alarms, of which less is better: two decimals, rounded up.

    Args:
        value: Not negative; None or NaN are undefined.
    """
    if value is None or math.isnan(value):
        return UNDEFINED
    return str(_exact(value).quantize(Decimal("0.01"), ROUND_CEILING))


def check_distinct(values: Sequence[float], what: str) -> None:
    """Require that no two radii are the same in the tables, whose columns and rows they name.

    Args:
        values: Radii.
        what: What they are, and what was given to get them, for the message.

    Raises:
        ValueError: Naming two that are written alike.
    """
    written: dict[str, float] = {}
    for value in values:
        text = significant(value)
        if text in written:
            raise ValueError(
                f"{what}: {written[text]!r} and {value!r} are both written {text}: no table "
                "can tell them apart, leave one out"
            )
        written[text] = value


def confidence(alpha: float, statements: int = 1) -> str | None:
    """Write the probability with which several statements hold together, by the union bound.

    Args:
        alpha: Probability that one of them is wrong.
        statements: Their number. Defaults to 1.

    Returns:
        Percent, exact for one statement and rounded down for several; None if nothing is left.
    """
    left = 100 * (1 - statements * _exact(alpha))
    if left <= 0:
        return None
    return f"{left.normalize():f}%" if statements == 1 else percent(float(left / 100))


def gray_levels(eps: float) -> str:
    """Count the color values that a perturbation of norm eps can change by one gray level each."""
    return f"{int((255 * _exact(eps)) ** 2):,}"


def _exact(value: float) -> Decimal:
    """The number as JSON writes it, not the binary fraction beside it."""
    return Decimal(repr(float(value)))
