import cv2
import numpy as np

from mmseg_lipcert.visualization import save_certificate_figure

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


def test_image_without_labels_or_radius(tmp_path):
    nothing = np.full((40, 60), 255, np.uint8)
    assert draw(tmp_path / "c.png", np.zeros((40, 60), np.float32), nothing) is not None
