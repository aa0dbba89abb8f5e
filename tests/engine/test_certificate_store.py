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


def test_a_report_is_written_as_a_whole(tmp_path):
    store = CertificateStore(tmp_path / "out")
    store.begin(SETTINGS)
    store.write("certificate.json", "{}")
    store.write("certificate.json", '{"schema": 1}')
    assert json.loads((tmp_path / "out" / "certificate.json").read_text()) == {"schema": 1}
    assert not list((tmp_path / "out").glob("*.partial"))
