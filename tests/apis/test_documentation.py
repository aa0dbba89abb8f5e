"""docs/python_api.md does what it says."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def code_blocks(text):
    """Blocks that are indented by four spaces."""
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", text, re.M)
    return [re.sub(r"^ {4}", "", block, flags=re.M) for block in blocks if block.strip()]


@pytest.mark.slow
def test_the_blocks_run_one_after_the_other(tmp_path, monkeypatch):
    for name in ("configs", "demo"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    blocks = code_blocks((ROOT / "docs" / "python_api.md").read_text())
    assert len(blocks) == 7
    names = {}
    seen = []
    for block in blocks:
        exec(block, names)
        seen.append(names.get("result"))
    assert cv2.imread("street_certificate.png").std() > 10
    assert 0.5 < seen[1].stability(0.5) < seen[1].stability(0.1) < 1
    assert seen[2].robustness_radius("recall", 0.9, class_index=0) > 0
    assert names["found"].norm >= names["found"].radius > 0
    assert seen[4].worst_case("mIoU") > 0 and names["certify"].method == "denoise"
    assert np.array_equal(np.load("street.npz")["prediction"], seen[4].labels)
