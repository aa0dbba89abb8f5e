import math

import cv2
import numpy as np

from mmseg_lipcert.visualization import save_curve_figure

SHARES = (0.01, 0.1, 0.5)


def curve(*radii):
    return [{"share": s, "radius": r} for s, r in zip(SHARES, radii, strict=True)]


def draw(path, curves, mean):
    save_curve_figure(path, curves, mean)
    return cv2.imread(str(path)).astype(int)


def blue(picture):
    return (picture[..., 0] - picture[..., 2] > 40).sum()


def test_every_image_is_a_line_and_the_mean_is_bold(tmp_path):
    mean = curve(0.02, 0.2, 2.0)
    one = draw(tmp_path / "new" / "one.png", [curve(0.01, 0.1, 1.0)], mean)
    many = [curve(0.01 * 2**i, 0.1 * 2**i, 2.0**i) for i in range(-2, 3)]
    five = draw(tmp_path / "five.png", many, mean)
    assert blue(five) > 3 * blue(one) > 0
    without = draw(tmp_path / "without.png", many, curve(math.inf, math.inf, math.inf))
    dark = [(picture.max(-1) < 40).sum() for picture in (five, without)]
    assert dark[0] > dark[1] + 1000


def test_radii_that_no_axis_shows_are_left_out(tmp_path):
    curves = [curve(None, None, None), curve(0.0, 0.1, math.inf), curve(0.01, 0.1, 1.0)]
    picture = draw(tmp_path / "a.png", curves, curve(0.005, 0.1, math.inf))
    assert np.isfinite(picture).all() and blue(picture) > 0
    nothing = curve(math.nan, math.nan, math.nan)
    assert draw(tmp_path / "b.png", [curve(None, None, None)], nothing).std() > 0
