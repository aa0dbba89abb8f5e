import pytest

from mmseg_lipcert.certificates import RegionQuery


@pytest.mark.parametrize(
    ("name", "value"),
    [("vanish_share", 0.0), ("vanish_share", 1.1), ("min_pixels", 0), ("fabricate_pixels", -3)],
)
def test_values_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*{value}"):
        RegionQuery(**{name: value})
