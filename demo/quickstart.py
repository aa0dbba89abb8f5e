"""Certify a small 1-Lipschitz network on generated street scenes: no data, no GPU, two minutes.

It runs the same two commands that a user would type, and shows them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIG = "configs/lip_unet/lip-unet_s_30e_street-scenes-256x512.py"
CHECKPOINT = "demo/checkpoints/lip-unet_s_street-scenes.pth"
EPS = ("0.05", "0.1", "0.17", "0.5", "1.0")


def run(command: list[str], **environment: str) -> None:
    """Show a command and run it from the repository's root; a failure ends the quickstart."""
    shown = [f"{key}={value}" for key, value in environment.items()] + ["python", *command]
    print(f"\n$ {' '.join(shown)}\n", flush=True)
    result = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env={**os.environ, **environment}, check=False
    )
    if result.returncode:
        sys.exit(result.returncode)


def main() -> None:
    """Generate scenes, certify them, say where the results are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="work_dirs/quickstart", help="folder of the results")
    parser.add_argument("--images", type=int, default=12, help="number of scenes")
    args = parser.parse_args()
    out = Path(args.out)
    # The demonstration starts over; tools/test.py itself never overwrites a certification.
    shutil.rmtree(ROOT / out / "certificate", ignore_errors=True)
    scenes = out / "scenes"
    counts = ["--train", "0", "--val", "0", "--test", str(args.images)]
    run(["tools/dataset_converters/street_scenes.py", "--out", str(scenes), *counts])
    run(
        [
            "tools/test.py",
            CONFIG,
            CHECKPOINT,
            "--certify",
            "--eps",
            *EPS,
            "--work-dir",
            str(out / "log"),
            "--out",
            str(out / "certificate"),
            "--show-dir",
            str(out / "pictures"),
        ],
        STREET_SCENES_ROOT=str(scenes),
    )
    print(
        f"\nCertificate: {out / 'certificate' / 'certificate.json'}"
        f"\nMaps:        {out / 'certificate' / 'certificates'}"
        f"\nPictures:    {out / 'pictures'}"
    )


if __name__ == "__main__":
    main()
