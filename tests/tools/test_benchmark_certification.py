"""tools/analysis_tools/benchmark_certification.py at tiny sizes; the numbers are not judged."""

import json
import sys

import pytest
import torch

from mmseg_lipcert.certificates import flip_costs
from mmseg_lipcert.utils.cli import CommandLineError


@pytest.fixture
def benchmark(tool_module, monkeypatch):
    """The tool as a module, with a function that runs it in this process."""
    module = tool_module("analysis_tools/benchmark_certification.py")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmark.py", *map(str, arguments)])
        module.main.__wrapped__()

    module.run = run
    return module


def test_measures_everything_once(project, benchmark, tmp_path, capsys):
    path = tmp_path / "benchmark.json"
    sizes = ["--size", 32, 64, "--megapixels", 0.005, 0.02]
    benchmark.run(
        "--config", project.config, *sizes, "--repeat", 2, "--clock", "cpu", "--json", path
    )
    result = json.loads(path.read_text())
    assert result["settings"]["size"] == [32, 64] and result["settings"]["classes"] == 19
    assert result["settings"]["clock"] == "cpu"
    for part, names in {
        "certifying": ["certify_over_forward", "accuracy_and_stability_over_forward"],
        "folding": ["seconds_folded", "seconds_plain", "folded_over_plain"],
    }.items():
        for name in names:
            value = result[part][name]
            assert 0 < value["min"] <= value["median"] <= value["max"], name
    small, large = result["scaling"]["points"]
    assert small["megapixels"] == pytest.approx(0.005, rel=0.05)
    assert large["megapixels"] == pytest.approx(0.02, rel=0.05)
    assert large["logits_megabytes"] == pytest.approx(4 * 19 * large["megapixels"])
    slope = result["scaling"]["seconds_per_megapixel"]
    rise = large["seconds"]["median"] - small["seconds"]["median"]
    assert slope * (large["megapixels"] - small["megapixels"]) == pytest.approx(rise)
    printed = capsys.readouterr().out
    assert f"{slope:.4g} s per megapixel" in printed and "folded over plain" in printed


def test_networks_of_other_shape_are_not_compared(benchmark):
    with pytest.raises(CommandLineError, match="other convolutions"):
        benchmark.require_same_layers(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(3, 4, 1))


def test_synthetic_logits_resemble_a_trained_network(benchmark):
    logits, target = benchmark.synthetic_problem(19, 128, 256)
    assert logits.shape == (19, 128, 256) and target.shape == (128, 256)
    costs = flip_costs(logits)
    assert 0.01 < costs.median() < 0.1
    assert 0 < costs.quantile(0.01) < 0.003
    valid = target != 255
    assert 0.02 < 1 - valid.float().mean() < 0.04
    assert 0.6 < (logits.argmax(0) == target)[valid].float().mean() < 0.95


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repeat", "0"], "--repeat must be at least 1, got 0"),
        (["--megapixels", "0.5"], "two different sizes"),
        (["--size", "8", "64"], "--size must be at least 32 32"),
        (["--config", "absent.py"], "absent.py does not exist"),
    ],
)
def test_wrong_command_lines(benchmark, arguments, message):
    with pytest.raises(CommandLineError, match=message):
        benchmark.run(*arguments)
