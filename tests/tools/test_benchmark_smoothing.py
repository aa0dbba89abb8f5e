from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_prints_what_a_draw_costs_against_a_bare_prediction(run_tool, capsys):
    config = ROOT / "configs" / "fast_scnn" / "fast-scnn_60e_camvid-240x320.py"
    zoo = "mmseg::fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py"
    options = ["--size", "64", "96", "--draws", "4", "--repeat", "2", "--threads", "1"]
    options += ["--autocast", "bfloat16", "--clock", "cpu"]
    run_tool("analysis_tools/benchmark_smoothing.py", config, zoo, *options)
    printed = capsys.readouterr().out
    assert "64x96, 4 draws, 1 per forward pass, 1 threads, cpu time" in printed
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()]
    rows = [row for row in rows if len(row) == 4 and row[0] != "network"]
    titles = ["bare prediction", "draw", "draw, channels_last", "draw, channels_last, bfloat16"]
    assert [row[1] for row in rows[:8]] == titles * 2
    assert {row[0] for row in rows[:4]} == {config.name} and "cityscapes" in rows[4][0]
    for row in rows[:8]:
        middle, spread = row[3].split(" ", 1)
        low, high = map(float, spread.strip("()").split(" - "))
        assert 0 < low <= float(middle) <= high
    assert rows[0][3] == rows[4][3] == "1.000 (1.000 - 1.000)"
    assert "statistics" in rows[8][1] and len(rows) == 9
