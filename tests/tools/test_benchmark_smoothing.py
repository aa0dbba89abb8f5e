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
    rows = [row for row in rows if len(row) == 3]
    titles = ["bare prediction", "draw", "draw, channels_last", "draw, channels_last, bfloat16"]
    assert [row[0] for row in rows] == [config.name, *titles, zoo.rsplit("/")[-1], *titles]
    for _, seconds, ratio in (*rows[1:5], *rows[6:]):
        for cell in (seconds, ratio):
            middle, spread = cell.split(" ", 1)
            low, high = map(float, spread.strip("()").split(" - "))
            assert 0 < low <= float(middle) <= high
    assert rows[1][2] == rows[6][2] == "1.000 (1.000 - 1.000)"
    assert "statistics of 1024x2048 pixels" in printed
