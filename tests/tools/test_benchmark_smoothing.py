from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_prints_what_smoothing_adds(run_tool, capsys):
    config = ROOT / "configs" / "fast_scnn" / "fast-scnn_60e_camvid-240x320.py"
    options = ["--size", "64", "96", "--draws", "4", "--repeat", "2", "--threads", "1"]
    run_tool("analysis_tools/benchmark_smoothing.py", config, *options)
    printed = capsys.readouterr().out
    assert "64x96, 4 draws" in printed
    rows = [line.split("|") for line in printed.splitlines() if "ratio" in line or "bare" in line]
    for row in rows:
        low, high = float(row[3]), float(row[4])
        assert 0 < low <= float(row[2]) <= high
