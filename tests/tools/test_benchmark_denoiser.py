import re
from functools import partial
from pathlib import Path

import pytest

from mmseg_lipcert.utils.cli import CommandLineError

ROOT = Path(__file__).parents[2]
DENOISER = ROOT / "demo" / "checkpoints" / "denoiser_street-scenes"


@pytest.fixture
def benchmark(run_tool):
    return partial(run_tool, "analysis_tools/benchmark_denoiser.py")


def test_it_prints_seconds_and_memory(benchmark, capsys, tmp_path):
    config = tmp_path / "denoiser.py"
    config.write_text(
        f"denoiser = dict(type='DiffusersDenoiser', path={str(DENOISER)!r}, strategy='native')"
    )
    benchmark(config, "--size", "32", "48", "--draws", "2", "--repeat", "2", "--threads", "1")
    printed = capsys.readouterr().out
    assert "32x48, 2 at once,\n1 threads, 2 measurements" in printed
    rows = [line.split("|") for line in printed.splitlines() if line.startswith("| seconds")]
    assert len(rows) == 2
    for row in rows:
        median, low, high = map(float, row[2:5])
        assert 0 < low <= median <= high
    peak, loaded = map(float, re.search(r"memory (\S+) GiB, after loading (\S+)", printed).groups())
    assert 0.1 < loaded <= peak


def test_mistakes_are_named(benchmark, tmp_path):
    empty = tmp_path / "empty.py"
    empty.write_text("nothing = 1")
    with pytest.raises(CommandLineError, match="does not define `denoiser = dict"):
        benchmark(empty)
    with pytest.raises(CommandLineError, match="cannot build .*missing"):
        benchmark(tmp_path / "missing")
