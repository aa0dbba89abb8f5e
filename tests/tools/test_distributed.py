"""Several processes from the command line: what one finds, and an end when one is killed."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMOOTHING = ["--certify", "smoothing", "--sigma", "0.02", "--n0", "3", "--n", "60"]
METHODS = {
    "lipschitz": ["--certify", "lipschitz"],
    "images": [*SMOOTHING, "--shard", "images"],
    "draws": [*SMOOTHING, "--shard", "draws"],
}
# Kills the second process at its first image, where the environment says so.
KILLER = """
import os, signal
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

@HOOKS.register_module()
class Killer(Hook):
    def after_test_iter(self, *args, **kwargs):
        if get_rank() == 1 and "KILL" in os.environ:
            open(os.environ["KILL"], "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def config(project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    (folder / "killer.py").write_text(KILLER)
    path = folder / "config.py"
    path.write_text(
        f"_base_ = {str(project.config)!r}\n"
        "custom_imports = dict(imports=['mmseg_lipcert.registration', 'killer'])\n"
        "custom_hooks = [dict(type='Killer')]\n"
    )
    return path


@pytest.fixture
def launch(project, config, tmp_path):
    """Start ``tools/dist_test.sh`` with so many processes into the folder ``out``."""

    def start(processes, method, *options, **environment):
        command = ["bash", str(ROOT / "tools" / "dist_test.sh"), str(config)]
        command += [str(project.checkpoint), str(processes), *METHODS[method], *options]
        places = dict(
            PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            PYTHONPATH=f"{config.parent}",
            OMP_NUM_THREADS="1",
        )
        folders = ["--work-dir", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
        return subprocess.Popen(
            [*command, *folders],
            env={**os.environ, **places, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


@pytest.fixture
def alone(project, config, test_tool, tmp_path, monkeypatch):
    """What one process certifies that knows of no others."""

    def certify(method):
        monkeypatch.syspath_prepend(config.parent)
        test_tool(config, project.checkpoint, *METHODS[method], "--out", tmp_path / "alone")
        return figures(tmp_path / "alone")

    return certify


def figures(folder):
    found = json.loads((folder / "certificate.json").read_text())
    return {key: value for key, value in found.items() if key not in ("cost", "environment")}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def ended_well(process):
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    return printed


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "method"), [(1, "lipschitz"), (2, "images"), (4, "draws")])
def test_several_processes_find_what_one_finds(launch, alone, tmp_path, processes, method):
    ended_well(launch(processes, method, PORT=free_port()))
    assert figures(tmp_path / "out") == alone(method)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lipschitz", "draws"])
def test_no_process_outlives_a_killed_one_and_the_run_goes_on(launch, alone, tmp_path, method):
    mark = tmp_path / "killed"
    process = launch(2, method, PORT=free_port(), KILL=str(mark))
    printed, _ = process.communicate()
    assert process.returncode == 1 and time.time() - mark.stat().st_mtime < 60, printed
    assert not (tmp_path / "out" / "certificate.json").exists()
    ended_well(launch(2, method, "--resume", PORT=free_port()))
    assert figures(tmp_path / "out") == alone(method)


@pytest.mark.slow
def test_two_machines_find_what_one_finds(launch, alone, tmp_path):
    port = free_port()
    nodes = [launch(1, "draws", PORT=port, NNODES="2", NODE_RANK=str(rank)) for rank in (0, 1)]
    for node in nodes:
        ended_well(node)
    assert figures(tmp_path / "out") == alone("draws")
