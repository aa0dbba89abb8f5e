import json

import numpy as np
import pytest

from mmseg_lipcert.engine import CertificateStore, CertificationError

SETTINGS = {"method": "lipschitz", "eps": [0.1]}


def entry(name, value=1):
    return {"image": name, "correct": value}


def maps():
    return {"prediction": np.zeros((2, 3), np.uint8), "radius": np.ones((2, 3), np.float16)}


def test_entries_come_back(tmp_path):
    store = CertificateStore(tmp_path / "out")
    assert store.open(SETTINGS, resume=False) == {}
    assert not store.folder.exists(), "looking leaves no trace"
    store.begin(SETTINGS)
    store.add(entry("city/a"), maps())
    store.add(entry("city/b", 2), maps())
    again = CertificateStore(tmp_path / "out").open(SETTINGS, resume=True)
    assert again == {"city/a": entry("city/a"), "city/b": entry("city/b", 2)}
    loaded = np.load(store.map_path("city/a"))
    assert loaded["radius"].dtype == np.float16 and loaded["prediction"].shape == (2, 3)


def test_every_rank_has_its_own_file(tmp_path):
    for rank in (0, 1):
        store = CertificateStore(tmp_path, rank)
        store.folder.mkdir(exist_ok=True)
        store.add(entry(f"image{rank}"), maps())
    assert len(list(tmp_path.glob("images.*.jsonl"))) == 2
    assert set(CertificateStore(tmp_path).finished()) == {"image0", "image1"}


def test_a_line_cut_off_by_a_crash_costs_one_image(tmp_path):
    store = CertificateStore(tmp_path / "out")
    store.begin(SETTINGS)
    store.add(entry("a"), maps())
    path = tmp_path / "out" / "images.0.jsonl"
    path.write_text(path.read_text() + '\n{"image": "b", "corr')
    store.add(entry("c"), maps())
    assert set(store.finished()) == {"a", "c"}


def test_results_are_not_overwritten(tmp_path):
    store = CertificateStore(tmp_path / "out")
    store.begin(SETTINGS)
    with pytest.raises(CertificationError, match="already holds .* --resume .* --out"):
        store.open(SETTINGS, resume=False)


@pytest.mark.parametrize("key", ["eps", "weights"])
def test_resume_needs_the_same_settings(tmp_path, key):
    store = CertificateStore(tmp_path / "out")
    store.begin(SETTINGS)
    with pytest.raises(CertificationError, match=f"{key} was .*, now 'other'"):
        store.open({**SETTINGS, key: "other"}, resume=True)


def test_digests_are_not_spelled_out(tmp_path):
    store = CertificateStore(tmp_path / "out")
    store.begin({**SETTINGS, "model": "ab" * 32})
    with pytest.raises(CertificationError, match=r"model was digest abababab\.\.\., now .* cdcd"):
        store.open({**SETTINGS, "model": "cd" * 32}, resume=True)


def test_a_folder_that_another_run_took_meanwhile_is_left_alone(tmp_path):
    first, second = CertificateStore(tmp_path / "out"), CertificateStore(tmp_path / "out")
    other = {**SETTINGS, "weights": "other"}
    assert first.open(SETTINGS, resume=False) == second.open(other, resume=False) == {}
    first.begin(SETTINGS)
    with pytest.raises(CertificationError, match="another certification has just begun"):
        second.begin(other)
    assert json.loads((tmp_path / "out" / "run.json").read_text()) == SETTINGS


def test_lines_of_another_run_are_refused(tmp_path):
    mine, other = CertificateStore(tmp_path / "out"), CertificateStore(tmp_path / "out", rank=1)
    mine.begin(SETTINGS)
    other.begin({**SETTINGS, "weights": "other"})
    mine.add(entry("a"), maps())
    other.add(entry("b"), maps())
    for store in (mine, CertificateStore(tmp_path / "out")):
        with pytest.raises(CertificationError, match="images.1.jsonl, line 2 .* other settings"):
            store.open(SETTINGS, resume=True)


def test_damaged_lines_are_done_again(tmp_path):
    store = CertificateStore(tmp_path / "out")
    store.begin(SETTINGS)
    for name in "abcde":
        store.add(entry(name), maps())
    path = tmp_path / "out" / "images.0.jsonl"
    written = filter(None, path.read_text().splitlines())
    lines = {line["image"]: line for line in map(json.loads, written)}
    del lines["a"]["correct"]
    lines["b"]["correct"] = 2
    del lines["c"]["image"]
    lines["d"]["digest"] = 5
    damaged = [json.dumps(line) for line in lines.values()]
    path.write_bytes("\n".join([*damaged, "12", "[]", '{"note": 1}']).encode() + b"\n\xff\xfe\n")
    assert set(CertificateStore(tmp_path / "out").open(SETTINGS, resume=True)) == {"e"}
    store.add(entry("a"), maps())
    assert set(store.finished()) == {"a", "e"}


@pytest.mark.parametrize("text", [None, "", "[]", '{"method": "lips'])
def test_settings_that_are_damaged_are_written_again_where_the_images_know_them(tmp_path, text):
    store = CertificateStore(tmp_path / "out")
    store.begin(SETTINGS)
    store.add(entry("a"), maps())
    record = tmp_path / "out" / "run.json"
    record.unlink() if text is None else record.write_text(text)
    with pytest.raises(CertificationError, match="already holds"):
        CertificateStore(tmp_path / "out").open(SETTINGS, resume=False)
    with pytest.raises(CertificationError, match="images.0.jsonl, line 2 .* other settings"):
        CertificateStore(tmp_path / "out").open({**SETTINGS, "eps": [0.2]}, resume=True)
    again = CertificateStore(tmp_path / "out")
    assert set(again.open(SETTINGS, resume=True)) == {"a"}
    again.begin(SETTINGS)
    assert json.loads(record.read_text()) == SETTINGS


@pytest.mark.parametrize("text", ["", "[]", '{"bound": 1.'])
def test_a_damaged_object_is_none(tmp_path, text):
    store = CertificateStore(tmp_path)
    assert store.read("audit.json") == {}
    store.write("audit.json", '{"bound": 1.0}')
    assert store.read("audit.json") == {"bound": 1.0}
    (tmp_path / "audit.json").write_text(text)
    assert store.read("audit.json") == {}


def test_an_image_without_its_maps_is_not_finished(tmp_path):
    store = CertificateStore(tmp_path / "out")
    store.begin(SETTINGS)
    for name in "abc":
        store.add(entry(name), maps())
    store.map_path("a").unlink()
    cut = store.map_path("c")
    cut.write_bytes(cut.read_bytes()[:-30])
    assert set(CertificateStore(tmp_path / "out").open(SETTINGS, resume=True)) == {"b"}


def test_a_report_is_written_as_a_whole(tmp_path):
    store = CertificateStore(tmp_path / "out")
    store.begin(SETTINGS)
    store.write("certificate.json", "{}")
    store.write("certificate.json", '{"schema": 1}')
    assert json.loads((tmp_path / "out" / "certificate.json").read_text()) == {"schema": 1}
    assert not list((tmp_path / "out").glob("*.partial"))


def test_a_void_certification_cannot_be_continued(tmp_path):
    store = CertificateStore(tmp_path)
    store.open(SETTINGS, resume=False)
    store.begin(SETTINGS)
    store.add(entry("a"), maps())
    store.void("draws are not independent")
    for resume in (True, False):
        with pytest.raises(CertificationError, match=r"is void: draws are not independent; choose"):
            CertificateStore(tmp_path).open(SETTINGS, resume)
