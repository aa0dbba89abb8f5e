import math

import cv2

from mmseg_lipcert.visualization import save_object_figure


def ink(path, objects, images):
    save_object_figure(path, objects, images, [0.1, 0.5])
    picture = cv2.imread(str(path)).astype(int)
    return ((picture[..., 0] - picture[..., 2]) > 60).sum()


def test_every_class_is_a_line(tmp_path):
    radii = {"car": [0.0, 0.2, 0.4, math.inf]}
    one = ink(tmp_path / "new" / "a.png", radii, radii)
    assert one > 100
    # The second class has another color, the third again a blue one.
    more = {"car": [0.0, 0.2], "person": [0.1], "pole": []}
    assert (tmp_path / "new" / "a.png").is_file() and ink(tmp_path / "b.png", more, more) > 0
