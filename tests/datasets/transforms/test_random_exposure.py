import numpy as np
import pytest

from mmseg_lipcert.datasets.transforms import RandomExposure

NOTHING = dict(gain=(1, 1), gamma=(1, 1), saturation=(1, 1), white_balance=0, offset=0)


def image():
    return np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)


def test_neutral_settings_change_nothing():
    result = RandomExposure(**NOTHING).transform(dict(img=image()))
    np.testing.assert_allclose(result["img"], image(), atol=1e-3)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (dict(gain=(0.5, 0.5)), lambda x: x * 0.5),
        (dict(gamma=(2.0, 2.0)), lambda x: x**2),
        (dict(saturation=(0.5, 0.5)), lambda x: (x + x.mean(2, keepdims=True)) / 2),
    ],
)
def test_each_setting(setting, expected):
    result = RandomExposure(**(NOTHING | setting), prob=1).transform(dict(img=image()))
    np.testing.assert_allclose(result["img"] / 255, expected(image() / 255), atol=1e-5)


def test_stays_within_the_range_and_changes_every_time():
    transform = RandomExposure()
    results = [transform.transform(dict(img=image()))["img"] for _ in range(20)]
    assert all(r.min() >= 0 and r.max() <= 255 and r.dtype == np.float32 for r in results)
    assert len({r.tobytes() for r in results}) == 20


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (dict(gain=(0, 1)), r"gain must be a range \(low, high\) above 0, got \(0, 1\)"),
        (dict(gamma=(2, 1)), "gamma must be a range"),
        (dict(saturation=(1, 2, 3)), "saturation must be a range"),
        (dict(offset=-1), "got 0.08, -1 and 0.7"),
        (dict(prob=2), "and 2"),
    ],
)
def test_wrong_settings(setting, message):
    with pytest.raises(ValueError, match=message):
        RandomExposure(**setting)
