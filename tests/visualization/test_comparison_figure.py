import matplotlib.image
import numpy as np
import pytest

from mmseg_lipcert.visualization import save_comparison_figure
from mmseg_lipcert.visualization.comparison_figure import certified_steps


def lipschitz(curve=True, largest=1.0):
    points = [dict(radius=r * largest, pixel_accuracy=0.9 - 0.4 * r) for r in (0, 0.25, 0.5, 1)]
    return dict(
        clean=dict(pixel_accuracy=0.9),
        certified=[dict(eps=0.3 * largest, pixel_accuracy=0.7)],
        accuracy_curve=points if curve else None,
        smoothing=None,
    )


def smoothing(radius=0.17):
    curve = [dict(radius=r * radius, pixel_accuracy=0.8 - 0.8 * r) for r in (0, 0.5, 1)]
    return dict(
        clean=dict(pixel_accuracy=0.95),
        certified=[dict(eps=radius, pixel_accuracy=0.5), dict(eps=radius / 2, pixel_accuracy=0.6)],
        accuracy_curve=curve,
        smoothing=dict(smoothed=dict(pixel_accuracy=0.85)),
    )


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        (lipschitz(), {0: 0.9, 0.25: 0.8, 0.3: 0.7, 0.5: 0.7, 1: 0.5}),
        (lipschitz(curve=False), {0: 0.9, 0.3: 0.7}),
        (smoothing(), {0: 0.6, 0.085: 0.6, 0.17: 0.5}),
    ],
)
def test_lines_begin_at_0_and_end_where_the_certificate_ends(certificate, expected):
    norms, accuracies = certified_steps(certificate)
    assert norms.tolist() == pytest.approx(list(expected))
    assert accuracies.tolist() == pytest.approx(list(expected.values()))


def test_every_certificate_changes_the_picture(tmp_path):
    def draw(**certificates):
        save_comparison_figure(tmp_path / "new" / "c.png", certificates, "two images")
        return matplotlib.image.imread(tmp_path / "new" / "c.png")

    both = draw(a=lipschitz(), b=smoothing())
    for other in (
        draw(a=lipschitz(curve=False), b=smoothing()),
        draw(a=lipschitz(), b=smoothing(0.15)),
        draw(a=lipschitz(), b=smoothing(0.4)),  # linear: no line is crowded
    ):
        assert other.shape == both.shape and np.abs(other - both).max() > 0.1
