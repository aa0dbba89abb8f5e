from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS

from mmseg_lipcert.cli.dataset_converters import kvasir_seg
from mmseg_lipcert.cli.dataset_converters.pairs import write_pairs
from mmseg_lipcert.datasets import KvasirSegDataset
from mmseg_lipcert.utils.user_error import UserError

BASE = Path(__file__).parents[2] / "configs" / "_base_" / "datasets" / "kvasir_seg.py"


@pytest.fixture
def archive(tmp_path) -> Path:
    """Five images of different sizes in the published layout; masks are noisy JPEG files."""
    root = tmp_path / "Kvasir-SEG"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    (root / "kavsir_bboxes.json").write_text("{}")
    rng = np.random.default_rng(0)
    for number, name in enumerate("ebadc"):
        height, width = 40 + 8 * number, 60 - 8 * number
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        mask = np.zeros((height, width, 3), np.uint8)
        cv2.circle(mask, (width // 2, height // 2), 10, (255, 255, 255), -1)
        cv2.imwrite(str(root / "images" / f"{name}.jpg"), image)
        cv2.imwrite(str(root / "masks" / f"{name}.jpg"), mask, [cv2.IMWRITE_JPEG_QUALITY, 60])
    return root


@pytest.fixture
def convert(archive, tmp_path):
    def run(test_images=2):
        out = tmp_path / "kvasir"
        write_pairs(kvasir_seg.find_pairs(archive, test_images), out, kvasir_seg.read_mask)
        return out

    return run


def test_masks_become_labels_and_the_last_names_the_test_part(convert, archive):
    out = convert()
    parts = {
        split: sorted(path.stem for path in (out / "img_dir" / split).iterdir())
        for split in ("train", "test")
    }
    assert parts == dict(train=["a", "b", "c"], test=["d", "e"])
    for split, names in parts.items():
        for name in names:
            noisy = cv2.imread(str(archive / "masks" / f"{name}.jpg"), cv2.IMREAD_GRAYSCALE)
            labels = cv2.imread(str(out / "ann_dir" / split / f"{name}.png"), -1)
            assert len(np.unique(noisy)) > 2 and set(np.unique(labels)) == {0, 1}
            height, width = labels.shape
            truth = np.zeros((height, width), np.uint8)
            cv2.circle(truth, (width // 2, height // 2), 10, 1, -1)
            assert (labels == truth).mean() > 0.99
            copied = (out / "img_dir" / split / f"{name}.jpg").read_bytes()
            assert copied == (archive / "images" / f"{name}.jpg").read_bytes()


def test_the_dataset_reads_what_the_converter_wrote(convert, monkeypatch, mmseg_scope):
    monkeypatch.setenv("KVASIR_ROOT", str(convert()))
    config = Config.fromfile(BASE)
    for split, count in (("train", 3), ("test", 2)):
        dataset = DATASETS.build(config[f"{split}_dataloader"].dataset)
        assert isinstance(dataset, KvasirSegDataset) and len(dataset) == count
        data = dataset[0]
        assert data["inputs"].shape[1:] == data["data_samples"].gt_sem_seg.data.shape[1:]
    assert data["inputs"].shape == (3, 64, 36)  # the original size of d
    assert config.num_classes == len(KvasirSegDataset.METAINFO["classes"]) == 2


def test_what_is_missing_or_wrong_is_named(convert, archive):
    with pytest.raises(UserError, match="of 5 images 1 to 4 can be for testing, got 5"):
        convert(5)
    cv2.imwrite(str(archive / "masks" / "c.jpg"), np.zeros((8, 8), np.uint8))
    with pytest.raises(UserError, match=r"masks/c\.jpg: labels of \(8, 8\) for an image of"):
        convert()
    (archive / "masks" / "c.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"labels \S*masks/c\.jpg: no \S*masks/c\.jpg"):
        convert()
