import cv2
import numpy as np
import pytest

from mmseg_lipcert.visualization import save_certificate_figure
from mmseg_lipcert.visualization.certificate_figure import radius_shares

CLASSES = ("road", "sky")
PALETTE = [[128, 64, 128], [70, 130, 180]]


def draw(path, radius, target=None):
    generator = np.random.default_rng(0)
    image = generator.integers(0, 255, (40, 60, 3), dtype=np.uint8)
    labels = np.zeros((40, 60), np.uint8) if target is None else target
    prediction = np.zeros((40, 60), np.uint8)
    prediction[:, 30:] = 1
    save_certificate_figure(path, image, labels, prediction, radius, CLASSES, PALETTE, "title")
    return cv2.imread(str(path))


def test_shows_classes_in_their_colors(tmp_path):
    picture = draw(tmp_path / "new" / "picture.png", np.full((40, 60), 0.2, np.float32))
    assert picture.ndim == 3
    for color in PALETTE:
        assert (np.abs(picture[..., ::-1].astype(int) - color).max(-1) <= 2).sum() > 500


def test_larger_radius_changes_the_heat_map(tmp_path):
    low = np.full((40, 60), 0.01, np.float32)
    mixed = low.copy()
    mixed[:20] = 1.0
    assert (draw(tmp_path / "a.png", low) != draw(tmp_path / "b.png", mixed)).any()


def test_without_labels_nothing_is_wrong_and_abstentions_are_black(tmp_path):
    image = np.full((40, 60, 3), 200, np.uint8)
    prediction = np.zeros((40, 60), np.uint8)
    pictures = []
    for number, abstaining in enumerate((0, 30)):
        prediction[:, :abstaining] = 255
        path, radius = tmp_path / f"{number}.png", np.full((40, 60), 0.2)
        save_certificate_figure(path, image, None, prediction, radius, CLASSES, PALETTE, "title")
        pictures.append(cv2.imread(str(path)))
    sure, half = (np.count_nonzero((picture < 8).all(-1)) for picture in pictures)
    # Both panels, prediction and radius, are black in one half.
    assert half > sure + 1.9 * 40 * 30
    assert pictures[0].shape[0] < draw(tmp_path / "l.png", np.full((40, 60), 0.2)).shape[0]


def test_image_without_labels_or_radius(tmp_path):
    nothing = np.full((40, 60), 255, np.uint8)
    assert draw(tmp_path / "c.png", np.zeros((40, 60), np.float32), nothing) is not None


def test_a_radius_of_zero_proves_nothing_and_is_black(tmp_path):
    radius = np.full((40, 60), 0.2)
    some = (draw(tmp_path / "a.png", radius) < 8).all(-1).sum()
    radius[:, :20] = 0
    # The left 30 columns are the right ones of the prediction.
    assert (draw(tmp_path / "b.png", radius) < 8).all(-1).sum() > some + 10 * 40 * 20


def test_infinite_radii_are_drawn(tmp_path):
    radius = np.full((40, 60), np.inf)
    draw(tmp_path / "a.png", radius)
    radius[:20] = 0.3
    draw(tmp_path / "b.png", radius)


def test_the_scale_says_which_share_of_the_pixels_has_a_radius():
    radius = np.array([0.0, 0.01, 0.02, 0.03, 0.2])
    assert radius_shares(radius, 0.002, 0.2) == pytest.approx(
        {0.003: 0.8, 0.01: 0.8, 0.03: 0.4, 0.1: 0.2}
    )
    assert radius_shares(np.array([]), 0.005, 0.02) == pytest.approx({0.01: 0.0})
