import base64
import hashlib
import json
import math
import re

import numpy as np
import pytest
from PIL import Image

from mmseg_lipcert.certificates.smoothing import ClassHierarchy
from mmseg_lipcert.report import write_html_report
from mmseg_lipcert.report.stored_run import image_accuracies
from mmseg_lipcert.report.tables import object_rows

from .page import Page

HIERARCHY = ClassHierarchy(3, [{"ground": [0, 1], "sky": [2]}, {"all": [0, 1, 2]}], share=0.7)
METHODS = ("lipschitz", "smoothing", "denoise")
RESULTS = (
    "pixel_accuracy",
    "pixel_accuracy_dataset",
    "stability",
    "mIoU",
    "mDice",
    "mAcc",
)


def render(folder):
    certificate = json.loads((folder / "certificate.json").read_text())
    return Page(write_html_report(folder)), certificate


def number(cell):
    return float(cell.removesuffix("%")) / (100 if cell.endswith("%") else 1)


def check_share(cell, value, up=False):
    """A share in percent: at most one step of rounding away, on the safe side."""
    if value is None:
        assert cell == "–"
        return
    assert re.fullmatch(r"\d+\.\d\d%", cell)
    excess = (1 if up else -1) * (number(cell) - value)
    assert -1e-12 <= excess < 1e-4


def check_radius(cell, value):
    if value in (None, "inf"):
        assert cell == ("–" if value is None else "∞")
    else:
        assert value * (1 - 1e-3) <= number(cell) <= value


@pytest.mark.parametrize("method", METHODS)
def test_results_are_those_of_the_certificate(method, write_certificate):
    page, certificate = render(write_certificate(method))
    head, *rows = page.table("guaranteed under every perturbation")
    shown = [certificate["clean"]]
    if method == "lipschitz":
        assert head[-1] == "pixel accuracy, worst image"
        for row in shown + certificate["certified"]:
            assert row["pixel_accuracy_lowest"] < row["pixel_accuracy"]
    else:
        assert head[-1] == "abstain"
        shown.append(certificate["smoothing"]["smoothed"])
    shown += certificate["certified"]
    assert len(rows) == len(shown)
    for cells, row in zip(rows, shown, strict=True):
        for cell, key in zip(cells[1:], RESULTS, strict=False):
            check_share(cell, row[key])
        if "abstain" in row:
            check_share(cells[-1], row["abstain"], up=True)
        if method == "lipschitz":
            check_share(cells[-3], row["detection"])
            check_share(cells[-2], row["alarm_free"])
            check_share(cells[-1], row["pixel_accuracy_lowest"])
            assert row["lowest_image"] in page.text
        if "eps" in row:
            title, _, eps = cells[0].rpartition(" ")
            assert title == "at most ε =" and row["eps"] * (1 - 1e-5) <= float(eps) <= row["eps"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("key", "words"), [("recall", "Recall:"), ("iou", "IoU:")])
def test_classes_are_those_of_the_certificate(method, key, words, write_certificate):
    page, certificate = render(write_certificate(method))
    head, *rows = page.table(words)
    if method == "lipschitz":
        columns, shown = ["no perturbation"], [certificate["clean"]]
    else:
        columns = ["plain segmentor, no perturbation", "most frequent label under noise"]
        shown = [certificate["clean"], certificate["smoothing"]["smoothed"]]
        assert shown[0]["per_class"]["car"][key] == 0 < shown[1]["per_class"]["car"][key]
        assert "the plain segmentor is another model, and not certified" in page.text
    assert head[: 1 + len(columns)] == ["class", *columns]
    shown += certificate["certified"]
    assert len(head) == 1 + len(shown)
    assert [row[0] for row in rows] == list(certificate["clean"]["per_class"])
    for name, *cells in rows:
        for cell, row in zip(cells, shown, strict=True):
            check_share(cell, row["per_class"][name][key])


@pytest.mark.parametrize("method", METHODS)
def test_undefined_classes_are_explained(method, write_certificate):
    page, _ = render(write_certificate(method))
    assert "its IoU and Dice count as 0%: means over classes can be over different" in page.text


def test_radii_and_objects_are_those_of_the_certificate(write_certificate):
    page, certificate = render(write_certificate("lipschitz"))
    for words, part, keys in (
        ("at or above a threshold", "radius", ("mean", "median")),
        ("less than a share", "curve", ("radius",)),
        ("makes an object vanish", "regions", ("median_radius", "smallest_radius")),
        ("can be invented", "fabrication", ("median_radius", "smallest_radius")),
    ):
        rows = page.table(words)[1:]
        assert len(rows) == len(certificate[part]) > 0
        for cells, row in zip(rows, certificate[part], strict=True):
            for cell, key in zip(cells[-len(keys) :], keys, strict=True):
                check_radius(cell, row[key])
    counts = [[int(cell) for cell in row[1:3]] for row in page.table("object vanish")[1:]]
    assert counts == [[row["count"], row["erased_free"]] for row in certificate["regions"]]
    assert "the labels of one class with at least 2 pixels. It has" in page.text


def test_detected_objects_and_false_alarms_are_those_of_the_certificate(write_certificate):
    page, certificate = render(write_certificate("lipschitz"))
    rows = page.table("Objects that are detected")[1:]
    expected = object_rows(certificate)
    assert [row["eps"] for row in expected] == [None, 0.1, 0.3]
    for cells, row in zip(rows, expected, strict=True):
        assert cells[0] == row["class"] and int(cells[2]) == row["objects"] > 0
        check_share(cells[3], row["detected"] / row["objects"])
        assert float(cells[4]) == math.ceil(100 * row["false_alarms"]) / 100
        check_share(cells[5], row["alarm_free"])
    assert expected[0]["detected"] >= expected[2]["detected"]
    assert expected[0]["false_alarms"] < expected[2]["false_alarms"]
    assert "of at least 2 pixels, of the labeled pixels" in page.text
    assert "images without false alarm" in page.text


def test_it_says_where_the_bound_comes_from(write_certificate):
    page, certificate = render(write_certificate("lipschitz"))
    for value in certificate["lipschitz"].values():
        assert repr(value) in page.text
    assert "this certificate is invalid" not in page.text
    assert "No probability is involved" in page.text and "smoothed" not in page.text


def test_a_bound_below_the_measured_expansion_raises_the_alarm(write_certificate):
    page, _ = render(write_certificate("lipschitz", lower_bound=1.6))
    assert "1.6 exceeds the bound 1.5: this certificate is invalid" in page.text


@pytest.mark.parametrize("method", ["smoothing", "denoise"])
def test_it_says_what_was_tested(method, write_certificate):
    page, certificate = render(write_certificate(method))
    said = certificate["smoothing"]
    for title, value in (
        ("noise σ (pixel values 0 to 1)", said["sigma"]),
        ("draws that select, n0", said["n0"]),
        ("draws that test, n", said["n"]),
        ("probability of failure α", said["alpha"]),
        ("correction for many pixels", "holm"),
        ("noise added at", "original"),
        ("guarantee", said["guarantee"]),
        ("seed", 3),
    ):
        assert f" {title} {value} " in page.text
    for cells, row in zip(page.table("Tested prob")[1:], certificate["certified"], strict=True):
        assert float(cells[0]) == row["tau"] and int(cells[3]) == row["allowance"]
        check_share(cells[2], row["abstain"], up=True)
        check_share(cells[4], row["mIoU_published"])
    assert ("denoiser" in page.text) == (method == "denoise")
    assert "Lipschitz" not in page.text and "not on some" not in page.text


@pytest.mark.parametrize(
    ("settings", "claims", "foreign"),
    [
        (
            dict(correction="holm"),
            ["label at any pixel counted", "at least 99.80%", "with all other pixels counted"],
            ["single pix"],
        ),
        (
            dict(correction="k-fwer", k=3),
            [
                "label at more than 2 of the pixels counted",
                "with all other pixels and 2 certified of each image counted as wrong",
                "many pixels k-fwer, k = 3",
            ],
            ["single pixels"],
        ),
        (
            dict(correction="metric", n=200),
            ["With probability at least 99.9%, over the noise", "single pixels: any pixel"],
            ["union bound", "each image alone"],
        ),
        (dict(correction="holm", alpha=0.6), ["leaves no probability"], ["(union bound)"]),
    ],
)
def test_every_correction_claims_what_it_proves(settings, claims, foreign, write_certificate):
    page, _ = render(write_certificate("smoothing", **settings))
    assert all(claim in page.text for claim in claims)
    assert not any(claim in page.text for claim in foreign)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("images", [1, 2])
def test_the_claim_names_images_norms_and_guaranteed_accuracy(method, images, write_certificate):
    page, certificate = render(write_certificate(method, images=images))
    (lead,) = re.findall(r'<p class="lead">(.*)</p>', page.source)
    assert ("the certified image" if images == 1 else "each of the 2 certified images") in lead
    assert "l2 norm is at most ε (pixel values from 0 to 1)" in lead
    sentences = lead.partition("<strong>")[0].split(". ")
    assert max(len(sentence.split()) for sentence in sentences) <= 45
    assert "480 pixels, for example, has 518,400" in page.text
    found = re.findall(r"<strong>(.*?)</strong> at ε&nbsp;=&nbsp;(\d+(?:\.\d+)?)", lead)
    for (cell, eps), row in zip(found, certificate["certified"], strict=True):
        check_share(cell, row["pixel_accuracy"])
        assert float(eps) == pytest.approx(row["eps"], rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_provenance_is_shown_and_what_is_missing_is_said(method, write_certificate):
    folder = write_certificate(method)
    page, certificate = render(folder)
    for part in ("model", "environment"):
        assert all(f"{key} {value}" in page.text for key, value in certificate[part].items())
    assert hashlib.sha256((folder / "certificate.json").read_bytes()).hexdigest() in page.text
    assert "data_sha256 is one digest over the names of all images, their files" in page.text
    assert "does not record: name, number of pixels and digest of each single image" in page.text
    assert ("denoiser_sha256 is that of the denoiser's" in page.text) == (method == "denoise")


def test_what_earlier_versions_did_not_record_is_said(write_certificate):
    folder = write_certificate("denoise", hierarchy=HIERARCHY)
    _, certificate = render(folder)
    for part, names in (
        ("environment", ("date", "command")),
        ("model", ("data_sha256", "denoiser_sha256")),
        ("smoothing", ("hierarchy",)),
    ):
        for name in names:
            del certificate[part][name]
    (folder / "certificate.json").write_text(json.dumps(certificate))
    page, _ = render(folder)
    assert (
        "does not record: date and time; the command that was run; a digest of the images and "
        "their labels; a digest of the denoiser's weights; the groups of classes that pixels fall "
        "back to; name, number" in page.text
    )
    assert "data_sha256 is" not in page.text and "denoiser_sha256 is" not in page.text


def test_objects_of_earlier_versions_have_a_size_in_run_json(write_certificate):
    folder = write_certificate("lipschitz")
    _, certificate = render(folder)
    for row in certificate["regions"]:
        del row["min_pixels"]
    (folder / "certificate.json").write_text(json.dumps(certificate))
    assert "with at least as many pixels as run.json records. It has" in render(folder)[0].text


@pytest.mark.parametrize("method", METHODS)
def test_names_from_outside_stay_text(method, write_certificate):
    hostile = ("<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "a & b </table>")
    folder = write_certificate(method, classes=hostile, config="<b>.py", checkpoint="{{ 7*7 }}")
    page, _ = render(folder)
    assert [row[0] for row in page.table("Recall:")[1:]] == list(hostile)
    assert len(page.attributes("script")) == 1 and not page.attributes("b")
    assert "checkpoint {{ 7*7 }}" in page.text and "config <b>.py" in page.text
    assert all("onerror" not in image for image in page.attributes("img"))


@pytest.mark.parametrize("method", METHODS)
def test_page_stands_alone_and_is_accessible(method, write_certificate):
    page, _ = render(write_certificate(method))
    assert page.attributes("html") == [{"lang": "en"}]
    assert not page.attributes("link") and page.attributes("script") == [{}]
    # The browser runs the script that the page declares, and no other.
    (script,) = re.findall(r"<script>(.*?)</script>", page.source, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (m["content"] for m in page.attributes("meta") if "http-equiv" in m)
    assert f"script-src 'sha256-{digest}';" in policy and policy.startswith("default-src 'none'")
    assert any("sortable" in table.get("class", "") for table in page.attributes("table"))
    assert not re.search(r"url\(|@import|https?:", page.source)
    images = page.attributes("img")
    assert images and all(image["src"].startswith("data:image/") for image in images)
    assert all(len(image["alt"]) > 20 for image in images)
    assert all(cell["scope"] in ("col", "row") for cell in page.attributes("th"))
    assert len(page.attributes("caption")) == len(page.attributes("table")) == len(page.tables)
    assert len(page.attributes("h1")) == 1
    for rows in page.tables.values():
        assert len({len(row) for row in rows}) == 1
    assert "@media print" in page.source and "size: A4" in page.source
    assert len(page.source) < 150_000


@pytest.mark.parametrize("method", METHODS)
def test_same_certificate_same_page(method, write_certificate):
    folder = write_certificate(method)
    assert render(folder)[0].source == render(folder)[0].source


def add_pictures(folder, *names):
    noise = np.random.default_rng(0).integers(0, 256, (40, 2000, 3), dtype=np.uint8)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(folder / name)


def test_few_pictures_are_inside_and_the_others_linked(write_certificate):
    folder = write_certificate("lipschitz")
    for name in ("a/x#1", "a/y"):
        path = folder / "certificates" / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    kinds = [f"shown/a/{name}{kind}.png" for name in ("x#1", "y") for kind in ("", "_regions")]
    add_pictures(folder, *kinds, "curve.png", "shown/a/other.png")
    (folder / "run.json").write_text("{}")
    (folder / "images.1.jsonl").write_text("")
    page, _ = render(folder)
    assert len(page.attributes("img")) == 4  # the figure, curve.png and two examples
    links = [link["href"] for link in page.attributes("a")]
    assert links[:4] == ["shown/a/x%231.png", "shown/a/x%231_regions.png", *kinds[2:]]
    assert links[4:] == ["certificate.json", "run.json", "images.0.jsonl", "images.1.jsonl"]
    assert "An example, the first by name" in page.text
    assert "2 more pictures" in page.text
    assert len(page.source) < 400_000, "pictures are made smaller"


@pytest.mark.parametrize("method", METHODS)
def test_worst_and_best_images_come_with_their_pictures(method, write_certificate):
    folder = write_certificate(method, images=12)
    page, certificate = render(folder)
    head, *rows = page.table("Pixel accuracy of the 5 worst and the 5 best of 12 images")
    entries = [json.loads(line) for line in (folder / "images.0.jsonl").read_text().splitlines()]
    expected = {image.name: image for image in image_accuracies(entries)}
    assert len(expected) == 12 and len(rows) == 10
    for name, clean, *guaranteed, pictures in rows:
        check_share(clean, expected[name].clean)
        for cell, value in zip(guaranteed, expected[name].certified, strict=True):
            check_share(cell, value)
        assert pictures == "–"
    mean = np.mean([image.certified for image in expected.values()], axis=0)
    assert mean == pytest.approx([row["pixel_accuracy"] for row in certificate["certified"]])
    firsts = [number(row[2]) for row in rows]
    assert firsts == sorted(firsts)
    left_out = [image.certified[0] for image in expected.values() if image.name not in str(rows)]
    assert firsts[4] <= min(left_out) and max(left_out) <= firsts[5] + 1e-4
    assert ("rows that were picked by their figures" in page.text) == (method != "lipschitz")
    for image in expected:
        (folder / "certificates" / f"{image}.npz").parent.mkdir(exist_ok=True)
        (folder / "certificates" / f"{image}.npz").touch()
    worst, best = rows[0][0], rows[-1][0]
    add_pictures(folder, *(f"p/{name}.png" for name in (worst, best, rows[1][0])))
    page, _ = render(folder)
    assert "The images with the lowest and with the highest guaranteed" in page.text
    shown = [image["alt"] for image in page.attributes("img") if "certified image" in image["alt"]]
    assert [alt.rpartition("/")[2] for alt in shown] == [f"{worst}.png", f"{best}.png"]
    assert "1 more picture" in page.text
    assert page.table("5 worst")[1][-1] == "1"


def test_no_figure_of_an_image_is_guaranteed_with_the_metric_correction(write_certificate):
    page, _ = render(write_certificate("smoothing", correction="metric", n=200))
    (rows,) = (rows for caption, rows in page.tables.items() if "of every image" in caption)
    assert rows[0] == ["image", "plain segmentor, no perturbation", "pictures"]
    assert "no figure of a single image is guaranteed" in page.text


def test_lines_of_other_images_are_not_shown(write_certificate):
    folder = write_certificate("lipschitz")
    assert "of every image" in str(render(folder)[0].tables)
    with open(folder / "images.0.jsonl", "a") as file:
        file.write('\n{"image": "b", "data_sha256": "1", "valid": 0}\n{"image": "cut o')
    assert "of every image" not in str(render(folder)[0].tables)


def test_smoothed_curve_is_not_shown_twice(write_certificate):
    folder = write_certificate("smoothing")
    add_pictures(folder, "curve.png")
    assert len(render(folder)[0].attributes("img")) == 1


def test_parts_that_a_certificate_may_lack(write_certificate):
    folder = write_certificate("lipschitz")
    path = folder / "certificate.json"
    certificate = json.loads(path.read_text())
    full, _ = render(folder)
    certificate.update(radius=[], curve=[], regions=None, fabrication=None)
    path.write_text(json.dumps(certificate))
    page, _ = render(folder)
    assert len(full.tables) == 9 and len(page.tables) == 4
    assert "Objects" not in page.text and "How large a perturbation must be" not in page.text


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("images", [1, 2])
def test_without_any_label_only_radii_of_pixels_are_stated(method, images, write_certificate):
    page, _ = render(write_certificate(method, images=images, labeled=False))
    for row in page.table("guaranteed under every perturbation")[1:]:
        assert set(row[1:]) <= {"–", ""}
    (lead,) = re.findall(r'<p class="lead">(.*)</p>', page.source)
    whose = "the certified image" if images == 1 else "any of the 2 certified images"
    assert lead.startswith(f"No pixel of {whose} has a label. Accuracy, IoU and all other")
    assert "a radius for each pixel, in certificates/*.npz" in lead and "–" not in lead
    assert ("hold together with probability at least 99.9%" in lead) == (method != "lipschitz")
    assert "labels – correctly" not in page.text and "union bound" not in page.text


def test_a_hierarchy_is_explained(write_certificate):
    page, certificate = render(write_certificate("smoothing", hierarchy=HIERARCHY))
    head, *rows = page.table("Tested probabilities")
    assert head[-1] == "certified information gain"
    for row, certified in zip(rows, certificate["certified"], strict=True):
        check_share(row[-1], certified["information_gain"])
    assert "if at least 0.7 of the 10 selecting draws agree on it" in page.text
    assert "Level 1, the finest: ground (road, car); sky (sky)." in page.text
    assert "Level 2: all (road, car, sky)." in page.text
    assert "the single most frequent label may still be none of the group" in page.text
    (lead,) = re.findall(r'<p class="lead">(.*)</p>', page.source)
    assert "(its most frequent group of classes, where only a group is certified)" in lead
    assert "with all pixels not certified as a class counted as wrong" in lead


def test_without_a_hierarchy_there_are_no_groups(write_certificate):
    page, _ = render(write_certificate("smoothing"))
    assert "group" not in page.text and "nformation gain" not in page.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(schema=2), "'schema' must be 1"),
        (lambda c: c.pop("clean"), "clean missing"),
        (lambda c: c["certified"][0].pop("mIoU"), "mIoU"),
        (lambda c: c["lipschitz"].pop("network"), "network"),
        (lambda c: c.update(method="magic"), "magic"),
    ],
)
def test_what_is_no_certificate_is_refused(change, message, write_certificate):
    folder = write_certificate("lipschitz")
    path = folder / "certificate.json"
    write_html_report(folder)
    certificate = json.loads(path.read_text())
    change(certificate)
    path.write_text(json.dumps(certificate))
    with pytest.raises(ValueError, match=f"certificate.json is no complete certificate.*{message}"):
        write_html_report(folder)
    assert not list(folder.glob("report.html*")), "no stale page"


def test_broken_json_and_no_json(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no certificate.json"):
        write_html_report(tmp_path)
    (tmp_path / "certificate.json").write_text("{")
    with pytest.raises(ValueError, match="certificate.json is no complete certificate"):
        write_html_report(tmp_path)
