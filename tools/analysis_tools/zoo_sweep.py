"""Smooth one config of every family of MMSegmentation with random weights; table what works."""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import multiprocessing
import os
import re
import resource
import sys
import tempfile
import textwrap
import time
import traceback
from collections import Counter
from collections.abc import Callable
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mmengine
import mmseg
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_lipcert.apis import CertifiedSegInferencer
from mmseg_lipcert.engine.loading import build_model
from mmseg_lipcert.utils.cli import CommandLineError, check_output_folder, load_config
from mmseg_lipcert.utils.failures import describe, one_line_errors, work_begins

# What lets one draw certify at an image of any size; nothing is claimed from it.
_SETTINGS = dict(
    sigma=0.1, n0=1, n=1, alpha=0.9, tau=0.5, correction="k-fwer", k=10**6, draws_per_batch=1
)
INSTALLED = Path(mmseg.__file__).parent / ".mim" / "configs"
_MISSING = re.compile(r"(?:No module named '|(?:Please|pip|mim) install )([A-Za-z][\w-]*)")
_SCOPES = ("mmdet", "mmpretrain")
_NAMES = {"onedl-mmdetection": "mmdet", "mmcv": "compiled mmcv", "onedl-mmcv": "compiled mmcv"}
_TOOLBOX = re.compile(r"(onedl-)?mm(?!seg_lipcert)\w+|torch")
_PAGE = """\
# The zoo under noise

Made by `tools/analysis_tools/zoo_sweep.py`: one config of every family of MMSegmentation,
certified by smoothing on the CPU, with random weights and otherwise as it is, on an image of the
size that the table names (the config's own where the stock code cannot do others), with
{installed}.

**{works} of {families} families that were tried are certified.** In MMSegmentation itself {build}
cannot be built (build) and {stock} cannot predict (stock); {certify} fail in the certification only
(certify). "Needs" names optional packages: `mmpretrain` comes with
`pip install "mmseg_lipcert[zoo]"`, for the others see [installation](installation.md).

| family | config | size | certified | needs | seconds | why not |
|---|---|---|---|---|---|---|
{rows}
"""


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--configs", type=Path, nargs="+", default=[INSTALLED], metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/zoo"), metavar="FOLDER")
    parser.add_argument("--only", nargs="+", metavar="FAMILY", help="these folders of configs")
    parser.add_argument(
        "--retry", action="store_true", help="again what failed: something was installed or mended"
    )
    parser.add_argument("--size", default="512x1024", metavar="HEIGHTxWIDTH")
    parser.add_argument("--seconds", type=float, default=1200, help="time limit of a family")
    parser.add_argument("--memory", type=float, default=12, help="its limit of memory, GiB")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    args = parser.parse_args()
    if not re.fullmatch(r"\d+x\d+", args.size):
        parser.error(f"--size must be HEIGHTxWIDTH, such as 512x1024, got {args.size}")
    args.size = tuple(map(int, args.size.split("x")))
    return args


def families(folders: list[Path]) -> dict[str, Path]:
    """The config of each family: on Cityscapes if there is one, of the least memory in training."""
    found = {}
    for folder in sorted(path for parent in folders for path in parent.iterdir()):
        configs = sorted(folder.glob("*.py")) if folder.name != "_base_" else []
        if configs:
            memory = memory_of(folder / "metafile.yaml")
            found[folder.name] = min(
                configs,
                key=lambda path: (
                    "cityscapes" not in path.name,
                    memory.get(path.stem, float("inf")),
                    len(path.name),
                ),
            )
    return found


def memory_of(metafile: Path) -> dict[str, float]:
    """Memory in training (GB) by name of the config, as far as the family says."""
    models = mmengine.load(metafile)["Models"] if metafile.is_file() else []
    pairs = ((model["Name"], model["Metadata"].get("Memory (GB)")) for model in models)
    return {name: float(memory) for name, memory in pairs if memory}


def without_weights(part: Any) -> None:
    """Remove from a config what would be downloaded."""
    if isinstance(part, dict):
        if isinstance(part.get("init_cfg"), dict) and part["init_cfg"]["type"] == "Pretrained":
            part["init_cfg"] = None
        if "pretrained" in part:
            part["pretrained"] = None
    for value in part.values() if isinstance(part, dict) else part:
        if isinstance(value, (dict, list, tuple)):
            without_weights(value)


def read_config(path: Path, size: tuple[int, int]) -> Config:
    """The config without weights, its test pipeline for images of this size."""
    config = load_config(path)
    without_weights(config.model)
    for transform in config.test_dataloader.dataset.pipeline:
        if transform.type == "Resize":
            transform.update(scale=size[::-1], keep_ratio=False)
    return config


def certify_random(config: Config, model: nn.Module, size: tuple[int, int]) -> None:
    """Certify an image of noise by the weights that the model has, as a user would."""
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    smoothed = copy.deepcopy(config)
    # In the layout that it has: to choose one takes six forward passes.
    smoothed.model = dict(type="SmoothedSegmentor", module=config.model, channels_last=False)
    with tempfile.NamedTemporaryFile(suffix=".pth") as weights:
        torch.save(model.state_dict(), weights.name)
        certify = CertifiedSegInferencer(smoothed, weights.name, "smoothing", "cpu", **_SETTINGS)
    labels = image[..., 0] % certify.model.num_classes
    certify(image, target=labels, name="random").worst_case("pixel_accuracy")


def run_stock(model: nn.Module, size: tuple[int, int]) -> None:
    """Let MMSegmentation alone predict an image of noise."""
    sample = SegDataSample(metainfo=dict(img_path="random", ori_shape=size, img_shape=size))
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    with torch.no_grad(), DefaultScope.overwrite_default_scope("mmseg"):
        model.eval().test_step(dict(inputs=[image], data_samples=[sample]))


def try_config(
    path: Path, size: tuple[int, int], say: Callable[[dict[str, Any]], None] = lambda record: None
) -> dict[str, Any]:
    """What becomes of a config at a size, or at its own where the stock code cannot do others.

    Args:
        path: The config.
        size: Height and width.
        say: Called with a record when a stage begins, as if it had failed.

    Returns:
        ``stage``, the one that failed: ``'build'`` of dataset and model, ``'stock'``, where
        MMSegmentation predicts, ``'certify'``, or ``''``; ``size``; ``error``; ``needs``, missing
        packages.
    """
    record, config = dict(stage="build", size=size, error="", needs=[]), Config()
    try:
        say(record)
        config = read_config(path, size)
        with DefaultScope.overwrite_default_scope("mmseg"):
            DATASETS.build(dict(config.test_dataloader.dataset, lazy_init=True))
        model = build_model(config)
        say(record := dict(record, stage="stock"))
        run_stock(model, size)
        say(record := dict(record, stage="certify"))
        certify_random(config, model, size)
        return dict(record, stage="")
    except Exception as error:
        traceback.print_exc()
        needs = set(_MISSING.findall("".join(traceback.format_exception(error))))
        needs |= {n for n in _SCOPES if f"{n}." in config.text and find_spec(n) is None}
        while error.__cause__ is not None:
            error = error.__cause__
        message = re.sub(r"(?<![\w:/])(/[\w.+-]+)+/", "", describe(error))  # without folders
        record.update(error=message, needs=sorted({_NAMES.get(n, n) for n in needs}))
    own = tuple(config.get("crop_size", size)) if record["stage"] == "stock" else size
    return record if own == size else try_config(path, own, say)


def run_child(path: Path, args: argparse.Namespace, log: Path) -> dict[str, Any]:
    """Try a config in a process of its own, which may fail in any way."""
    context = multiprocessing.get_context("fork")  # what is imported is there already
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(path, args, log, sender.send))
    started = time.perf_counter()
    child.start()
    sender.close()
    child.join(args.seconds)
    late = child.is_alive()
    child.kill()
    child.join()
    seconds = time.perf_counter() - started
    record = dict(stage="build", size=args.size, error="", needs=[])
    with contextlib.suppress(EOFError):
        while True:
            record = receiver.recv()
    if late:
        record["error"] = f"took more than {args.seconds:g} s"
    elif child.exitcode:
        record["error"] = f"the process ended with exit status {child.exitcode}"
    return dict(record, seconds=round(seconds, 1))


def _child(path: Path, args: argparse.Namespace, log: Path, say: Callable[[Any], None]) -> None:
    with open(log, "wb") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    limit = int(args.memory * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    torch.set_num_threads(args.threads)
    say(try_config(path, args.size, say))


def read_records(file: Path) -> list[dict[str, Any]]:
    """All records, earlier ones of a family as well; a line cut off is left out."""
    records = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        with contextlib.suppress(ValueError):
            records.append(json.loads(line))
    return records


def page_of(records: list[dict[str, Any]]) -> str:
    """What was done with which versions, how many families work, and a row for each."""
    last = {record["family"]: record for record in records}
    counts = Counter(record["stage"] for record in last.values())
    installed = {f"{d.name} {d.version}" for d in distributions() if _TOOLBOX.fullmatch(d.name)}
    rows = []
    for family, record in sorted(last.items()):
        # What was missing at an earlier try is needed all the same.
        needs = {name for r in records if r["family"] == family for name in r["needs"]}
        certified = f"no: {record['stage']}" if record["stage"] else "yes"
        why = textwrap.shorten(record["error"].replace("|", "/"), 80, placeholder=" ...")
        cells = (family, f"`{record['config']}`", "{}x{}".format(*record["size"]), certified)
        rows.append((*cells, ", ".join(sorted(needs)), f"{record['seconds']:.0f}", why))
    return _PAGE.format(
        installed=", ".join(sorted(installed)),
        works=counts[""],
        families=len(last),
        **{stage: counts[stage] for stage in ("build", "stock", "certify")},
        rows="\n".join("| " + " | ".join(row) + " |" for row in rows),
    )


@one_line_errors
def main() -> int:
    """Try the families without a record, and write the page; 1 if a failure is not the stock's."""
    args = parse_args()
    check_output_folder(args.out, "--out")
    configs = families(args.configs)
    unknown = set(args.only or ()) - set(configs)
    if unknown:
        raise CommandLineError(f"--only {' '.join(unknown)}: choose from {', '.join(configs)}")
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "zoo.jsonl"
    records = read_records(file)
    stages = {record["family"]: record["stage"] for record in records}
    work_begins()
    for family in args.only or configs:
        if family in stages and not (args.retry and stages[family]):
            continue
        tried = run_child(configs[family], args, args.out / f"{family}.log")
        records.append(dict(family=family, config=configs[family].name, **tried))
        stages[family] = tried["stage"]
        with open(file, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(records[-1]) + "\n")
        print(f"{family}: {tried['stage'] or 'certified'} {tried['error']}"[:200], flush=True)
    (args.out / "zoo.md").write_text(page_of(records), encoding="utf-8")
    return int("certify" in stages.values())


if __name__ == "__main__":
    sys.exit(main())
