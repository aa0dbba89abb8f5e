import json
import re

import pytest
from PIL import Image

from mmseg_lipcert.report import Comparison
from mmseg_lipcert.report.stored_run import read_run

from .page import Page


def change(folder, edit):
    path = folder / "certificate.json"
    certificate = json.loads(path.read_text())
    edit(certificate)
    path.write_text(json.dumps(certificate))


def test_page_and_figure_show_what_the_certificates_say(write_certificate, tmp_path):
    methods = ("lipschitz", "smoothing", "denoise")
    comparison = Comparison([write_certificate(method, folder=method) for method in methods])
    figure = comparison.write(tmp_path / "new" / "compared.html")
    assert figure == tmp_path / "new" / "compared.png"
    with Image.open(figure) as picture:
        assert picture.width > 800
    page = Page(tmp_path / "new" / "compared.html")
    head, *rows = page.table("guaranteed under every perturbation")
    runs = {method: read_run(tmp_path / method) for method in methods}
    expected = [
        (name, run.certificate, row)
        for name, run in runs.items()
        for row in run.certificate["certified"]
    ]
    for cells, (name, certificate, row) in zip(rows, expected, strict=True):
        found = dict(zip(head, cells, strict=True))
        assert found["certificate"] == name and found["images"] == "2"
        assert found["guarantee"] == ("certain" if name == "lipschitz" else "99.9% per image")
        for title, value in (
            ("clean", certificate["clean"]["pixel_accuracy"]),
            ("certified", row["pixel_accuracy"]),
            ("certified mIoU", row["mIoU"]),
        ):
            assert 0 <= value - float(found[title][:-1]) / 100 < 1e-4
        assert (found["abstain"] == "–") == (name == "lipschitz")
    assert all(run.digest in page.text for run in runs.values())
    assert (
        "guarantees: lipschitz: certain, smoothing: 99.9% per image, denoise: 99.9% per image."
        in page.text
    )
    assert "Different images" not in page.text
    assert len(page.attributes("img")) == 1 and len(page.attributes("script")) == 1
    assert not re.search(r"url\(|@import|https?:", page.source)
    table = comparison.table()
    assert all(f"| {method} " in table for method in methods)


def test_other_images_are_named_and_left_out_on_request(write_certificate):
    three = write_certificate("lipschitz", folder="three", images=3)
    two = write_certificate("smoothing", folder="two", images=2, first=1)
    alone = write_certificate("lipschitz", folder="alone", images=2, first=1)
    everything = Comparison([three, two])
    assert not everything.same_images
    assert "Different images: three: 3, two: 2; 2 of them are in all" in everything.table()
    assert {row["images"] for row in everything.rows()} == {2, 3}
    common = Comparison([three, two], common=True)
    assert common.same_images and "Different images" not in common.table()
    assert common.notes()[0].startswith("On the 2 images that all certificates have:")
    assert "On the" not in everything.table()
    for name, folder in (("three", alone), ("two", two)):
        certificate, again = common.certificates[name], read_run(folder).certificate
        for part in ("images", "clean", "certified", "accuracy_curve", "smoothing"):
            assert certificate[part] == again[part]


def test_images_that_are_not_listed(write_certificate):
    folders = [write_certificate("lipschitz", folder=name, images=2) for name in ("a", "b")]
    (folders[0] / "images.0.jsonl").unlink()
    assert Comparison(folders).same_images
    with pytest.raises(ValueError, match=r"^a: its images.\*.jsonl must lie beside"):
        Comparison(folders, common=True)
    change(folders[0], lambda c: c["model"].update(data_sha256="other"))
    assert "which of them all have is not known" in Comparison(folders).table()


def test_lines_of_an_earlier_version_give_no_parts(write_certificate):
    folders = [write_certificate("lipschitz", folder=name, images=2) for name in ("a", "b")]
    path = folders[1] / "images.0.jsonl"
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    for entry in entries:
        del entry["accuracy_curve"]
    path.write_text("\n".join(map(json.dumps, entries)))
    change(folders[1], lambda c: c.update(accuracy_curve=None))
    with pytest.raises(ValueError, match="lack 'accuracy_curve': they are of an earlier version"):
        Comparison(folders, common=True)
    assert "certain" in Comparison(folders).table()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.update(units="[0,255]"), r"^b and a do not compare, their units differ: \[0,"),
        (lambda c: c.update(norm="linf"), "their norm differ: linf; l2"),
        (lambda c: c["clean"]["per_class"].pop("car"), "their classes differ: road, sky; road, c"),
        (lambda c: c["clean"].update(pixel_accuracy=None), "b has no accuracy to compare"),
        (lambda c: c["lipschitz"].update(lower_bound=2.0), "b is invalid: .* 2.0 exceeds .* 1.5"),
        (lambda c: c["lipschitz"].update(resized_images=1), "b: resized image"),
        (lambda c: c.pop("clean"), "clean missing"),
    ],
)
def test_false_comparisons_are_refused(edit, message, write_certificate):
    folders = [write_certificate("lipschitz", folder=name) for name in ("a", "b")]
    change(folders[1], edit)
    with pytest.raises(ValueError, match=message):
        Comparison(folders)


def test_disjoint_images_and_other_ignored_labels_are_refused(write_certificate):
    a = write_certificate("lipschitz", folder="a", images=2)
    b = write_certificate("lipschitz", folder="b", images=2, first=2)
    with pytest.raises(ValueError, match="b has no image in common"):
        Comparison([a, b])
    c = write_certificate("lipschitz", folder="c", images=2, labeled=False)
    change(c, lambda c: c["clean"].update(pixel_accuracy=0.5))
    with pytest.raises(ValueError, match="c counts 0 labeled pixels of scene_0, .* before it 81"):
        Comparison([a, c])


def test_noise_behind_the_pipeline_is_said(write_certificate):
    folders = [write_certificate(m, folder=m) for m in ("lipschitz", "smoothing")]
    change(folders[1], lambda c: c["smoothing"].update(noise_at="network"))
    assert "they compare only if it resizes nothing" in Comparison(folders).table()


def test_names_tell_the_files_apart(write_certificate, tmp_path):
    one = write_certificate("lipschitz", folder="one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "one.json").write_text((one / "certificate.json").read_text())
    found = Comparison([one / "certificate.json", tmp_path / "two" / "one.json"])
    assert list(found.certificates) == [f"{tmp_path.name}/one", "two/one"]
    with pytest.raises(ValueError, match="is given twice"):
        Comparison([one, one / "certificate.json"])
    with pytest.raises(ValueError, match="at least two certificates, got 1"):
        Comparison([one])
    with pytest.raises(FileNotFoundError, match="has no certificate.json"):
        Comparison([one, tmp_path])
