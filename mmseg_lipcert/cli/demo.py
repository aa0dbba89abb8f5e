"""Certify small networks on generated street scenes in three ways: no data, no GPU, a few minutes.

It runs the same commands that a user would type, shows them, and compares the certificates.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from ..utils.cli import check_output_folder
from ..utils.failures import one_line_errors

LIPSCHITZ = (
    "mmseg_lipcert::lip_shift_unet/lip-shift-unet_m_30e_street-scenes-256x512.py",
    "mmseg_lipcert::lip-shift-unet_m_street-scenes.pth",
)
PLAIN = (
    "mmseg_lipcert::fast_scnn/fast-scnn_20e_street-scenes-256x512.py",
    "mmseg_lipcert::fast-scnn_street-scenes.pth",
)
DENOISED = "mmseg_lipcert::certify/denoise.py"
EPS = ["0.05", "0.1", "0.17", "0.5", "1.0"]
# Few draws, so that it is quick: 70 are just enough for 256x512 pixels at alpha 0.001.
DRAWS = ["--sigma", "0.15", "--n0", "10", "--n", "70", "--limit", "2"]
RUNS = {
    "lipschitz": [*LIPSCHITZ, "--certify", "lipschitz", "--eps", *EPS],
    "smoothing": [*PLAIN, "--certify", "smoothing", *DRAWS],
    "denoise": [DENOISED, PLAIN[1], "--certify", "denoise", *DRAWS],
}


def run(*command: str, **environment: str) -> None:
    """Show a command and run it; a failure ends the demonstration."""
    shown = [f"{key}={shlex.quote(value)}" for key, value in environment.items()]
    print(f"\n$ {' '.join([*shown, 'lipcert', shlex.join(command)])}\n", flush=True)
    result = subprocess.run(
        [sys.executable, "-m", "mmseg_lipcert", *command],
        env={**os.environ, **environment},
        check=False,
    )
    if result.returncode:
        sys.exit(result.returncode)


@one_line_errors
def main() -> None:
    """Generate scenes, certify them in three ways, say where the results are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("work_dirs/demo"), help="default: %(default)s"
    )
    parser.add_argument("--images", type=int, default=12, help="number of scenes (12)")
    args = parser.parse_args()
    check_output_folder(args.out, "--out")
    scenes = str(args.out / "scenes")
    run("street-scenes", "--out", scenes, "--train=0", "--val=0", "--test", str(args.images))
    for name, arguments in RUNS.items():
        results = args.out / name
        # The demonstration starts over; a certification by itself is never overwritten.
        shutil.rmtree(results, ignore_errors=True)
        folders = ["--work-dir", str(args.out / "log"), "--out", str(results)]
        folders += ["--show-dir", str(results / "pictures")]
        run("test", *arguments, *folders, STREET_SCENES_ROOT=scenes)
    folders = [str(args.out / name) for name in RUNS]
    # On the scenes that all three certified: smoothing and denoising take few.
    run("report", *folders, "--common", "--out", str(args.out / "comparison.html"))
    print(f"Reports, certificates, maps and pictures: {', '.join(folders)}")
