import math

import cv2
import numpy as np

from mmseg_lipcert.certificates import Region
from mmseg_lipcert.visualization import save_region_figure

CLASSES = ("road", "sky")
BLACK, RED, GRAY = (0, 0, 0), (204, 0, 0), (153, 153, 153)


def draw(path, radii, ignored=None):
    """Two regions side by side, the left and the right half of the image."""
    numbers = np.ones((40, 60), np.int64)
    numbers[:, 30:] = 2
    ignored = np.zeros((40, 60), bool) if ignored is None else ignored
    numbers[ignored] = 0
    numbers[numbers > len(radii)] = 0
    regions = [
        Region(i + 1, i % 2, 1200, (0, 30 * i, 40, 30 * i + 30), 1200, 2 * radius, radius)
        for i, radius in enumerate(radii)
    ]
    image = np.full((40, 60, 3), 90, np.uint8)
    save_region_figure(path, image, regions, numbers, ignored, CLASSES, 0.9, "title")
    return cv2.imread(str(path))[..., ::-1].astype(int)


def pixels(picture, color):
    return (np.abs(picture - np.array(color)).max(-1) <= 2).sum()


def test_radius_is_the_color(tmp_path):
    near = draw(tmp_path / "new" / "near.png", [0.1, 0.11])
    assert pixels(near, RED) < 500, "nothing is missed; red is in the legend only"
    far = draw(tmp_path / "far.png", [0.01, 1.0])
    low, high = (68, 1, 84), (253, 231, 37)  # both ends of viridis
    assert pixels(far, low) > 5000 and pixels(far, high) > 5000


def test_missed_regions_are_striped_and_ignored_pixels_gray(tmp_path):
    found, missed = draw(tmp_path / "a.png", [0.2, 0.3]), draw(tmp_path / "b.png", [0.2, 0.0])
    for color in (BLACK, RED):
        assert pixels(missed, color) - pixels(found, color) > 10_000
    ignored = np.zeros((40, 60), bool)
    ignored[20:] = True
    gray = draw(tmp_path / "c.png", [0.2, 0.3], ignored)
    assert pixels(gray, GRAY) - pixels(found, GRAY) > 20_000


def test_extreme_radii_and_images_without_objects(tmp_path):
    for name, radii in (
        ("none", []),
        ("missed", [0.0, 0.0]),
        ("infinite", [math.inf, math.inf]),
        ("mixed", [1e-9, math.inf]),
    ):
        assert draw(tmp_path / f"{name}.png", radii).std() > 10, name
