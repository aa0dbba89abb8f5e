"""Certify small networks on generated street scenes in three ways: no data, no GPU, a few minutes.

It runs the same commands that a user would type, shows them, and compares the certificates.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from prettytable import PrettyTable

from mmseg_lipcert.utils.rounding import confidence, percent, significant

ROOT = Path(__file__).resolve().parents[1]
LIPSCHITZ = (
    "configs/lip_unet/lip-unet_s_30e_street-scenes-256x512.py",
    "demo/checkpoints/lip-unet_s_street-scenes.pth",
)
PLAIN = (
    "configs/fast_scnn/fast-scnn_20e_street-scenes-256x512.py",
    "demo/checkpoints/fast-scnn_street-scenes.pth",
)
DENOISED = "configs/certify/denoise.py"
# Few draws, so that it is quick: 70 are just enough for 256x512 pixels at alpha 0.001.
DRAWS = ["--sigma", "0.15", "--n0", "10", "--n", "70", "--limit", "2"]
RUNS = {
    "lipschitz": [
        *LIPSCHITZ,
        "--certify",
        "lipschitz",
        "--eps",
        "0.05",
        "0.1",
        "0.17",
        "0.5",
        "1.0",
    ],
    "smoothing": [*PLAIN, "--certify", "smoothing", *DRAWS],
    "denoise": [DENOISED, PLAIN[1], "--certify", "denoise", *DRAWS],
}


def run(command: list[str], **environment: str) -> None:
    """Show a command and run it from the repository's root; a failure ends the quickstart."""
    shown = [f"{key}={value}" for key, value in environment.items()] + ["python", *command]
    print(f"\n$ {' '.join(shown)}\n", flush=True)
    result = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env={**os.environ, **environment}, check=False
    )
    if result.returncode:
        sys.exit(result.returncode)


def comparison(certificates: dict[str, dict]) -> str:
    """One table of all certificates."""
    columns = ["method", "images", "eps", "clean accuracy", "certified accuracy", "certified mIoU"]
    table = PrettyTable([*columns, "forward passes"], align="r")
    for name, result in certificates.items():
        for row in result["certified"]:
            table.add_row(
                [
                    name,
                    result["images"],
                    significant(row["eps"], 3),
                    percent(result["clean"]["pixel_accuracy"]),
                    percent(row["pixel_accuracy"]),
                    percent(row["mIoU"]),
                    result["cost"]["forward_passes_per_image"],
                ]
            )
    return table.get_string()


def main() -> None:
    """Generate scenes, certify them in three ways, say where the results are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="work_dirs/quickstart", help="folder of the results")
    parser.add_argument("--images", type=int, default=12, help="number of scenes")
    args = parser.parse_args()
    out = Path(args.out)
    scenes = out / "scenes"
    counts = ["--train", "0", "--val", "0", "--test", str(args.images)]
    run(["tools/dataset_converters/street_scenes.py", "--out", str(scenes), *counts])
    certificates = {}
    for name, arguments in RUNS.items():
        results = out / name
        # The demonstration starts over; tools/test.py itself never overwrites a certification.
        shutil.rmtree(ROOT / results, ignore_errors=True)
        folders = ["--work-dir", str(out / "log"), "--out", str(results)]
        folders += ["--show-dir", str(results / "pictures")]
        run(["tools/test.py", *arguments, *folders], STREET_SCENES_ROOT=str(scenes))
        certificates[name] = json.loads((ROOT / results / "certificate.json").read_text())
    print(f"\nGuaranteed pixel accuracy and mIoU\n{comparison(certificates)}")
    print(
        "lipschitz holds for sure and for every eps at once; smoothing and denoise hold at their "
        "radius, for each image\nwith probability "
        f"{confidence(certificates['smoothing']['smoothing']['alpha'])}.\n"
        f"Reports, certificates, maps and pictures: {', '.join(str(out / name) for name in RUNS)}"
    )


if __name__ == "__main__":
    main()
