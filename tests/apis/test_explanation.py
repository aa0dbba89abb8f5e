import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mmseg_lipcert.apis import CertifiedSegInferencer, Explanation
from mmseg_lipcert.engine import CertificationError
from mmseg_lipcert.utils.cli import CommandLineError


@pytest.fixture(scope="module")
def explain(project):
    return CertifiedSegInferencer(project.config, project.checkpoint, device="cpu").explain


@pytest.fixture(scope="module")
def scene(scenes):
    return next(iter(scenes.values()))


def largest_region(labels):
    return labels == np.bincount(labels.ravel()).argmax()


def test_the_counterfactual_has_another_answer_and_is_not_nearer_than_certified(explain, scene):
    first = explain(scene.path)
    where = largest_region(first.labels)
    for share, steps in ((0.5, 0), (0.1, 6)):
        found = explain(scene.path, where, share=share, steps=steps)
        assert 0 < found.radius <= found.norm < math.inf
        assert found.tightness == found.norm / found.radius >= 1
        assert (found.changed != found.labels)[where].mean() >= share
        moved = np.linalg.norm((found.counterfactual - found.image).astype(np.float64))
        assert moved == pytest.approx(found.norm, rel=1e-4)
        assert 0 <= found.counterfactual.min() and found.counterfactual.max() <= 1
        assert found.saliency.shape == where.shape
        assert np.linalg.norm(found.saliency) == pytest.approx(1, rel=1e-4)
    rgb = scene.pixels[..., ::-1] / 255
    np.testing.assert_allclose(found.image, rgb, atol=1e-6)


def test_a_pixel_becomes_the_class_that_is_asked(explain, scene):
    certified = explain.__self__(scene.path)  # the inferencer
    any_other = explain(scene.path, (5, 7), share=1.0, steps=10)
    assert any_other.region.sum() == 1
    assert any_other.radius == pytest.approx(certified.radius[5, 7])
    assert any_other.changed[5, 7] != any_other.labels[5, 7]
    wanted = int(any_other.changed[5, 7])
    found = explain(scene.path, (5, 7), to=wanted, share=1.0)
    assert found.radius >= any_other.radius * (1 - 1e-9)
    assert found.norm == math.inf or found.changed[5, 7] == wanted
    there = explain(scene.path, (5, 7), to=int(found.labels[5, 7]))
    assert there.norm == there.radius == 0 and math.isnan(there.tightness)


def test_tightness_of_what_cannot_be():
    empty = np.zeros((1, 1))
    one = Explanation("a", "b", empty, empty, empty, empty, empty, empty, 2.0, 0.0)
    assert one.tightness == math.inf
    assert math.isnan(replace(one, norm=math.inf, radius=math.inf).tightness)
    assert replace(one, norm=math.inf, radius=1.0).tightness == math.inf


def test_a_picture_is_drawn(explain, scene, tmp_path):
    found = explain(scene.path, (5, 7))
    found.draw(tmp_path / "new" / "a.png", [[10 * c, 0, 0] for c in range(19)])
    picture = cv2.imread(str(tmp_path / "new" / "a.png"))
    assert picture.shape[1] > 900 and picture.std() > 20


def test_bad_questions_are_named(explain, scene, project):
    wanted = {
        "no pixel": dict(region=(500, 0)),
        "boolean map": dict(region=np.zeros((2, 2), bool)),
        "'boat' is no class": dict(to="boat"),
        "got 99": dict(to=99),
        "share must be in": dict(share=0.0),
    }
    for message, options in wanted.items():
        with pytest.raises(ValueError, match=message):
            explain(scene.path, **options)
    smooth = CertifiedSegInferencer(
        project.config, project.checkpoint, "smoothing", device="cpu", sigma=0.1, n=30
    )
    with pytest.raises(CertificationError, match="rest on a Lipschitz bound"):
        smooth.explain(scene.path)


def test_the_tool_measures_tightness_beside_the_signs_of_the_gradient(
    project, tmp_path, capsys, run_tool
):
    command = [project.config, project.checkpoint, "--limit", 1, "--largest", 1, "--min-pixels", 5]
    plain = ["--plain", project.config, project.checkpoint]
    assert run_tool("analysis_tools/explain.py", *command, *plain, "--out", tmp_path / "o") == 0
    printed = capsys.readouterr().out
    assert "the same / certified radius" in printed and "1 objects" in printed
    (row,) = json.loads((tmp_path / "o" / "explanations.json").read_text())["objects"]
    assert row["radius"] <= row["norm"] == pytest.approx(row["plain_norm"], rel=0.01)
    assert row["radius"] <= row["sign_norm"] == pytest.approx(row["plain_sign_norm"], rel=0.01)
    assert row["tightness"] == row["norm"] / row["radius"]
    assert len(list((tmp_path / "o").rglob("*.png"))) == 1
    with pytest.raises(CommandLineError, match="no object of any class with 5000 pixels"):
        run_tool("analysis_tools/explain.py", *command[:-1], 5000, "--out", tmp_path / "p")
