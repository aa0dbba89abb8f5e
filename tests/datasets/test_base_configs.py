from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS

from mmseg_lipcert.datasets import write_street_scenes

CONFIGS = Path(__file__).parents[2] / "configs" / "_base_" / "datasets"
NAMES = {
    "camvid": "CAMVID_ROOT",
    "cityscapes": "CITYSCAPES_ROOT",
    "kvasir_seg": "KVASIR_ROOT",
    "oxford_pets": "PETS_ROOT",
    "oxford_pet_breeds": "PETS_ROOT",
    "pascal_context_59": "VOC2010_ROOT",
    "street_scenes": "STREET_SCENES_ROOT",
}

pytestmark = pytest.mark.usefixtures("mmseg_scope")


def load(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv(NAMES[name], str(root))
    child = root / "config.py"
    base = (CONFIGS / f"{name}.py").as_posix()
    imports = 'custom_imports = dict(imports=["mmseg_lipcert.registration"])'
    child.write_text(f'_base_ = ["{base}"]\n{imports}\n')
    return Config.fromfile(child)


def write_pair(image: Path, labels: Path, ids: np.ndarray) -> None:
    for path in (image, labels):
        path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    cv2.imwrite(str(image), rng.integers(0, 256, (*ids.shape, 3), dtype=np.uint8))
    cv2.imwrite(str(labels), ids)


def make_data(name: str, root: Path) -> tuple[int, int]:
    """Write one tiny image per split; return its size."""
    ids = np.tile(np.array([0, 1, 255, 2], np.uint8), (60, 20))
    if name == "street_scenes":
        write_street_scenes(root, {"train": 1, "val": 1, "test": 1}, size=(64, 128))
        return 64, 128
    for split in ("train", "val", "test"):
        if name == "camvid":
            image, labels = root / f"img_dir/{split}/a.png", root / f"ann_dir/{split}/a.png"
        elif name == "cityscapes":
            image = root / f"leftImg8bit/{split}/city/city_000000_000000_leftImg8bit.png"
            stem = root / f"gtFine/{split}/city/city_000000_000000"
            labels = stem.with_name(stem.name + "_gtFine_labelTrainIds.png")
        elif name in ("kvasir_seg", "oxford_pets", "oxford_pet_breeds"):
            image = root / f"img_dir/{split}/a.jpg"
            labels = root / ("breed_dir" if "breed" in name else "ann_dir") / split / "a.png"
            ids = np.where(ids == 2, 37 if "breed" in name else 1, ids).astype(np.uint8)
        else:
            image = root / "JPEGImages/a.jpg"
            labels = root / "SegmentationClassContext/a.png"
            listing = root / f"ImageSets/SegmentationContext/{split}.txt"
            listing.parent.mkdir(parents=True, exist_ok=True)
            listing.write_text("a\n")
            ids = np.where(ids == 255, 0, ids + 1).astype(np.uint8)
        write_pair(image, labels, ids)
    return ids.shape


@pytest.mark.parametrize("name", NAMES)
def test_one_setting_moves_every_split(name, tmp_path, monkeypatch):
    config = load(name, tmp_path, monkeypatch)
    for split in ("train", "val", "test"):
        assert config[f"{split}_dataloader"].dataset.data_root == str(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_default_root_is_below_data(name, monkeypatch):
    monkeypatch.delenv(NAMES[name], raising=False)
    assert Config.fromfile(CONFIGS / f"{name}.py").data_root.startswith("data/")


@pytest.mark.parametrize("name", NAMES)
def test_datasets_load_at_original_size(name, tmp_path, monkeypatch):
    size = make_data(name, tmp_path)
    config = load(name, tmp_path, monkeypatch)
    for split in ("val", "test"):
        dataset = DATASETS.build(config[f"{split}_dataloader"].dataset)
        assert len(dataset) == 1
        assert len(dataset.metainfo["classes"]) == config.num_classes
        item = dataset[0]
        assert tuple(item["inputs"].shape) == (3, *size)
        labels = item["data_samples"].gt_sem_seg.data
        assert tuple(labels.shape) == (1, *size)
        assert all(i < config.num_classes or i == 255 for i in labels.unique().tolist())


@pytest.mark.parametrize("name", NAMES)
def test_training_crops_fit_the_crop_size(name, tmp_path, monkeypatch):
    make_data(name, tmp_path)
    config = load(name, tmp_path, monkeypatch)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    for _ in range(5):
        item = dataset[0]
        height, width = item["inputs"].shape[1:]
        assert height <= config.crop_size[0] and width <= config.crop_size[1]
        assert item["data_samples"].gt_sem_seg.data.shape[1:] == (height, width)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_labels_outside_the_classes_name_the_file(name, split, tmp_path, monkeypatch):
    make_data(name, tmp_path)
    config = load(name, tmp_path, monkeypatch)
    dataset = DATASETS.build(config[f"{split}_dataloader"].dataset)
    path = dataset.get_data_info(0)["seg_map_path"]
    labels = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    labels[3, 4] = 200
    cv2.imwrite(path, labels)
    with pytest.raises(ValueError, match=f"{Path(path).name} has ids .*{config.num_classes} cl"):
        dataset[0]
