"""docs/own_images.md, word by word, on tiny images and with few iterations and draws."""

import json
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmseg_lipcert.__main__ import COMMANDS

PAGE = (Path(__file__).parents[2] / "docs" / "own_images.md").read_text(encoding="utf-8")
SHORTER = {
    "smoothing": "--n0 2 --n 50",
    "denoise": "--n0 2 --n 50",
    "lipschitz": "--limit 1",
    "attack": "--attack pgd --steps 1",
    "explain": "--limit 1 --min-pixels 1 --objects background",
}


def write_images():
    random = np.random.default_rng(0)
    for split, count in (("train", 5), ("val", 2)):
        for folder in ("images", "labels"):
            Path("data", folder, split).mkdir(parents=True)
        for index in range(count):
            labels = np.zeros((32, 48), np.uint8)
            center = tuple(random.integers(10, 22, 2).tolist())
            cv2.circle(labels, center, 6, 1, -1)
            image = random.integers(60, 90, (32, 48, 3)) + labels[..., None] * (0, 40, 110)
            cv2.imwrite(f"data/images/{split}/{index:02}.png", image.astype(np.uint8))
            cv2.imwrite(f"data/labels/{split}/{index:02}.png", labels)


def run(line, monkeypatch):
    _, command, *arguments = shlex.split(line.replace("iter_200", "iter_2"))
    kind = command
    if command == "test" and "--out" in arguments:
        kind = Path(arguments[arguments.index("--out") + 1]).name
    arguments += shlex.split(SHORTER.get(kind, ""))
    monkeypatch.setattr(sys, "argv", [f"lipcert {command}", *arguments])
    return import_module(f"mmseg_lipcert.cli.{COMMANDS[command]}").main()


@pytest.mark.slow
def test_every_step_works(tmp_path, monkeypatch, mmseg_scope, capsys):
    monkeypatch.chdir(tmp_path)
    write_images()
    (config,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    settings = "iterations, crop_size = 200, (96, 128)"
    assert settings in config
    Path("mine.py").write_text(config.replace(settings, "iterations, crop_size = 2, (32, 48)"))
    lines = "".join(re.findall(r"```bash\n(.*?)```", PAGE, re.S)).splitlines()
    for line in lines:
        if line.startswith("sed "):
            subprocess.run(line, shell=True, check=True, stdout=subprocess.DEVNULL)
        else:
            assert run(line, monkeypatch) == 0, (line, capsys.readouterr().err)
    for method in ("smoothing", "denoise", "lipschitz"):
        certificate = json.loads(Path("certified", method, "certificate.json").read_text())
        assert certificate["method"] == method
        assert set(certificate["clean"]["per_class"]) == {"background", "disc"}
    assert Path("certified", "comparison.html").is_file()
    assert Path("explained", "explanations.json").is_file()
