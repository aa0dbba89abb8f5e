import cv2
import numpy as np

from mmseg_lipcert.visualization import save_detection_figure


def colored(path):
    """How many pixels are greenish, orange and red: certified, found and missed."""
    blue, green, red = (cv2.imread(str(path)).astype(int)[..., n] for n in range(3))
    certified = (green > red + 60) & (green > blue + 20)
    found = (red > 200) & (green > 130) & (blue < 80)
    missed = (red > 180) & (green < 120) & (blue < 80)
    return [int(part.sum()) for part in (certified, found, missed)]


def test_objects_have_the_color_of_what_is_certain(tmp_path):
    image = np.full((40, 80, 3), 128, dtype=np.uint8)
    box = (10, 10, 60, 30)
    nothing = np.zeros((0, 4))

    def save(name, objects, boxes=nothing):
        path = tmp_path / "new" / name
        save_detection_figure(path, image, objects, boxes, 0.1, "a")
        return np.array(colored(path))

    legend = save("none.png", [])
    cases = {"certified": (True, 0.2), "found": (True, 0.05), "missed": (False, 0.0)}
    for number, (name, (found, radius)) in enumerate(cases.items()):
        more = save(f"{name}.png", [("car", box, found, radius)]) - legend
        assert more.argmax() == number and more[number] > 500
    save("box.png", [], np.array([box]))
    plain, white = (
        (cv2.imread(str(tmp_path / "new" / name)) == 255).all(2) for name in ("none.png", "box.png")
    )
    assert (white & ~plain).sum() > 500
