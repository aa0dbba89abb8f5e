"""The package as pip installs it: a wheel, built from the sdist, used far from any clone."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIG = "mmseg_lipcert::lip_shift_unet/lip-shift-unet_m_30e_street-scenes-256x512.py"
CHECKPOINT = "mmseg_lipcert::lip-shift-unet_m_street-scenes.pth"
INHERITED = """
from pathlib import Path
from mmseg_lipcert.utils.cli import load_config
print((Path(load_config("config.py").model.denoiser.path) / "unet" / "config.json").is_file())
"""


def build(source, what, out):
    """Build in the folder ``source``, as pip would; give the file."""
    code = f"from setuptools import build_meta; build_meta.build_{what}({str(out)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (file,) = out.glob("*.tar.gz" if what == "sdist" else "*.whl")
    return file


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Folder of the programs of an environment that has the wheel.

    Everything else is found where the tests have it: downloading it again would take minutes.
    """
    folder = tmp_path_factory.mktemp("installed")
    ignored = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "data", "work_dirs")
    shutil.copytree(ROOT, folder / "clone", ignore=ignored)
    with tarfile.open(build(folder / "clone", "sdist", folder)) as sdist:
        sdist.extractall(folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    wheel = build(source, "wheel", folder)
    venv.create(folder / "env")
    python = folder / "env" / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*command, "--no-deps", "--no-index", str(wheel)], check=True)
    for remaining in (folder / "clone", source):
        shutil.rmtree(remaining)
    (packages,) = (folder / "env").glob("lib/*/site-packages")
    # Behind its own packages, and without the links that an editable install leaves there.
    (packages / "tests.pth").write_text("\n".join(path for path in sys.path if "-packages" in path))
    return python.parent


@pytest.fixture
def run(programs, tmp_path):
    """Run a program of the environment in an empty folder; give what it prints."""

    def start(program, *arguments, **environment):
        inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        result = subprocess.run(
            [str(programs / program), *map(str, arguments)],
            cwd=tmp_path,
            env={**inherited, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return start


@pytest.mark.slow
def test_a_certificate_without_a_clone(run, tmp_path):
    run("lipcert", "street-scenes", "--out", "scenes", "--train=0", "--val=0", "--test=1")
    arguments = ["--certify", "--eps", "0.1", "--out", "out", "--work-dir", "work"]
    run("lipcert", "test", CONFIG, CHECKPOINT, *arguments, STREET_SCENES_ROOT="scenes")
    found = json.loads((tmp_path / "out" / "certificate.json").read_text())
    assert found["environment"]["command"].startswith(f"lipcert test {CONFIG} {CHECKPOINT} ")
    assert 0.5 < found["certified"][0]["pixel_accuracy"] < found["clean"]["pixel_accuracy"]
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.slow
def test_configs_can_be_inherited_without_a_clone(run, tmp_path):
    (tmp_path / "config.py").write_text("_base_ = 'mmseg_lipcert::certify/denoise.py'\n")
    assert run("python", "-c", INHERITED).splitlines()[-1] == "True"


@pytest.mark.slow
def test_the_demonstration(run, tmp_path):
    printed = run("lipcert", "demo", "--images", "2", "--out", "demo")
    assert (tmp_path / "demo" / "comparison.png").is_file()
    for method in ("lipschitz", "smoothing", "denoise"):
        assert (tmp_path / "demo" / method / "report.html").is_file()
        assert any(line.split()[:2] == ["|", method] for line in printed.splitlines())
