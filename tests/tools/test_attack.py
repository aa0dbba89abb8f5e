"""tools/attack.py as users call it: attacked beside certified, resuming, and refutations."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS, MODELS

from mmseg_lipcert.attacks import SegmentorLogits
from mmseg_lipcert.certificates import worst_case
from mmseg_lipcert.models.segmentors import LipEncoderDecoder
from mmseg_lipcert.report.attack_report import ATTACK_SCHEMA
from mmseg_lipcert.utils.cli import CommandLineError

TOOL = Path(__file__).parents[2] / "tools" / "attack.py"
FAST = ["--eps", 0.1, 0.5, "--attack", "masked-ce", "knapsack", "--steps", 4]


@MODELS.register_module(force=True)
class ForgetfulEncoderDecoder(LipEncoderDecoder):
    """Forgets that normalization magnifies perturbations (trap 1)."""

    def preprocessing_norm(self):
        return 1.0


@pytest.fixture
def attack_tool(run_tool, tmp_path):
    """Run tools/attack.py in this process, in an empty work folder; return its exit status."""
    return lambda *arguments: run_tool("attack.py", *arguments, "--work-dir", tmp_path / "work")


@pytest.fixture(scope="module")
def finished(project, tmp_path_factory):
    """A finished attack by the tool, in a process of its own, and what it printed."""
    out = tmp_path_factory.mktemp("attack") / "out"
    command = [TOOL, project.config, project.checkpoint, *FAST, "--threshold", 0.03, "--out", out]
    result = subprocess.run(
        [sys.executable, *map(str, command), "--batch-size", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return out, result.stdout + result.stderr


def report(folder):
    return json.loads((folder / "attack.json").read_text())


def without_times(result):
    return {key: value for key, value in result.items() if key not in ("cost", "environment")}


def test_report_follows_its_schema(finished):
    result = report(finished[0])
    jsonschema.validate(result, json.loads(ATTACK_SCHEMA.read_text()))
    assert result["images"] == 3 and result["attacks"] == ["masked-ce", "knapsack"]
    assert [row["eps"] for row in result["results"]] == [0.1, 0.5]
    assert result["violations"] == [] and result["smoothing"] is None
    (row,) = result["minimal"]
    assert row["threshold"] == 0.03 and len(row["per_image"]) == 3
    for point in row["per_image"]:
        assert float(point["norm"]) >= point["radius"]


def test_attacked_lies_between_certified_and_clean(finished):
    result = report(finished[0])
    fallen = 0
    for row in result["results"]:
        for name, value in row["attacked"].items():
            if name != "per_class" and value is not None:
                assert row["certified"][name] <= value <= result["clean"][name], name
                fallen += value < result["clean"][name]
        for name, figures in row["attacked"]["per_class"].items():
            for key, value in figures.items():
                if value is not None:
                    assert row["certified"]["per_class"][name][key] <= value + 1e-12
    assert fallen > 4, "the attacks did something"
    for image in result["per_image"]:
        values = zip(image["certified"], image["attacked"], strict=True)
        assert all(certified <= attacked <= image["clean"] for certified, attacked in values)


def test_certified_values_are_those_of_the_certification_tool(
    finished, project, tmp_path, test_tool
):
    test_tool(
        project.config, project.checkpoint, "--certify", "--eps", 0.1, 0.5, "--out", tmp_path / "c"
    )
    certificate = json.loads((tmp_path / "c" / "certificate.json").read_text())
    result = report(finished[0])
    assert result["lipschitz_bound"] == pytest.approx(certificate["lipschitz"]["bound"])
    for row, expected in zip(result["results"], certificate["certified"], strict=True):
        for name in ("pixel_accuracy", "pixel_accuracy_dataset", "stability", "mIoU", "mAcc"):
            # Predictions are the same; costs differ by the rounding of image / 255 * 255.
            assert row["certified"][name] == pytest.approx(expected[name], abs=2e-3), name
    assert result["clean"]["mIoU"] == pytest.approx(certificate["clean"]["mIoU"], abs=1e-3)


def test_attacked_maps_are_saved_and_agree(finished, project):
    out, _ = finished
    accuracies = []
    for label_file in sorted((project.folder / "scenes" / "gtFine").rglob("*.png")):
        name = label_file.name.replace("_gtFine_labelTrainIds.png", "_leftImg8bit")
        (path,) = (out / "attacked").rglob(f"{name}.npz")
        label = cv2.imread(str(label_file), cv2.IMREAD_UNCHANGED)
        attacked = np.load(path)["prediction_0.5"]
        accuracies.append((attacked == label)[label != 255].mean())
    row = report(out)["results"][1]["attacked"]
    # The weaker eps is allowed, too, and may have hit more.
    assert row["pixel_accuracy"] <= np.mean(accuracies) + 1e-9
    assert np.mean(accuracies) < report(out)["clean"]["pixel_accuracy"] + 1e-9


def test_prints_progress_tables_and_draws(finished):
    out, printed = finished
    assert "3/3 " in printed and "min left" in printed
    for text in ("attacked", "certified", "| traffic light |", "median certified radius"):
        assert text in printed
    assert "Traceback" not in printed and "REFUTED" not in printed
    for name in ("curve.png", "scatter.png"):
        assert cv2.imread(str(out / name)).std() > 10


def test_resume_gives_the_same_report(finished, project, tmp_path, attack_tool):
    out = tmp_path / "out"
    command = [project.config, project.checkpoint, *FAST, "--threshold", 0.03, "--out", out]
    assert attack_tool(*command, "--limit", 1) == 0
    assert report(out)["images"] == 1
    lines = out / "images.0.jsonl"
    lines.write_text(lines.read_text() + '\n{"image": "cut o')  # a crash in the middle of a line
    assert attack_tool(*command, "--resume") == 0
    resumed, whole = without_times(report(out)), without_times(report(finished[0]))
    for key in ("clean", "images", "attacks", "violations"):
        assert resumed[key] == whole[key]
    # Batches of one and of two images round differently.
    for a, b in zip(resumed["results"], whole["results"], strict=True):
        assert a["attacked"]["pixel_accuracy"] == pytest.approx(
            b["attacked"]["pixel_accuracy"], abs=0.01
        )
    assert len([line for line in lines.read_text().splitlines() if line]) == 4, "nothing redone"
    with pytest.raises(CommandLineError, match="already holds.*--resume"):
        attack_tool(*command)
    with pytest.raises(CommandLineError, match="other settings: steps was 4, now 5"):
        attack_tool(*command, "--resume", "--steps", 5)


def test_unsound_model_is_caught_and_the_counterexample_reproduces(project, tmp_path, attack_tool):
    out = tmp_path / "out"
    options = ["model.type=ForgetfulEncoderDecoder", "model.data_preprocessor.std=[8.,8.,8.]"]
    command = [project.config, project.checkpoint, *FAST, "--limit", 1, "--out", out]
    assert attack_tool(*command, "--cfg-options", *options) == 1
    result = report(out)
    jsonschema.validate(result, json.loads(ATTACK_SCHEMA.read_text()))
    violation = next(v for v in result["violations"] if v["confirmed"] and v["eps"] == 0.5)
    case = np.load(out / violation["file"])
    assert case["eps"] == 0.5 and np.linalg.norm(case["delta"].astype(float)) <= 0.5 * (1 + 1e-6)

    config = Config.fromfile(project.config)
    config.merge_from_dict(
        {"model.type": "ForgetfulEncoderDecoder", "model.data_preprocessor.std": [8.0] * 3}
    )
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(config.model).eval()
        data = DATASETS.build(config.test_dataloader.dataset)[0]
    model.load_state_dict(torch.load(project.checkpoint)["state_dict"])
    image, delta = (torch.from_numpy(case[name]).unsqueeze(0) for name in ("image", "delta"))
    assert torch.equal(image[0], data["inputs"])
    logits_of = SegmentorLogits(model, [data["data_samples"]])
    with torch.no_grad():
        clean, attacked = logits_of(image / 255)[0], logits_of(image / 255 + delta)[0]
    target = torch.from_numpy(case["target"])
    valid = target != 255
    accuracy = (attacked.argmax(0) == target)[valid].double().mean().item()
    guaranteed = worst_case(clean, target, "pixel_accuracy", 0.5, model.lipschitz_bound((32, 64)))
    assert "pixel_accuracy" in case["metrics"] and accuracy < guaranteed.item()

    # Finished work is not repeated, and still refutes.
    assert attack_tool(*command, "--resume", "--cfg-options", *options) == 1


def test_model_without_certificate_is_attacked_all_the_same(project, tmp_path, attack_tool):
    options = ["--cfg-options", "model.type=EncoderDecoder"]
    out = tmp_path / "out"
    command = [project.config, project.checkpoint, *FAST, "--limit", 2, "--out", out, "--clip"]
    assert attack_tool(*command, *options) == 0
    result = report(out)
    jsonschema.validate(result, json.loads(ATTACK_SCHEMA.read_text()))
    assert result["clip"] and result["lipschitz_bound"] is None
    assert all(row["certified"] is None for row in result["results"])
    assert result["results"][1]["attacked"]["stability"] < 1
    assert cv2.imread(str(out / "scatter.png")).std() > 10


def smoothed_config(project, folder, **options):
    config = Config.fromfile(project.config)
    config.model = dict(type="SmoothedSegmentor", module=config.model, sigma=0.1, **options)
    config.dump(folder / "smoothed.py")
    return folder / "smoothed.py"


def test_smoothed_model_is_attacked_through_its_noise(project, tmp_path, attack_tool):
    out = tmp_path / "out"
    command = [smoothed_config(project, tmp_path), project.checkpoint, *FAST, "--limit", 1]
    assert attack_tool(*command, "--draws", 2, "--votes", 5, "--out", out) == 0
    result = report(out)
    jsonschema.validate(result, json.loads(ATTACK_SCHEMA.read_text()))
    assert result["smoothing"] == {"sigma": 0.1, "draws": 2, "votes": 5}
    assert result["results"][1]["attacked"]["stability"] < 1
    again = tmp_path / "again"
    assert attack_tool(*command, "--draws", 2, "--votes", 5, "--out", again) == 0
    assert without_times(report(again)) == without_times(result), "the noise is reproducible"


def test_denoiser_is_refused(project, tmp_path, attack_tool):
    path = smoothed_config(project, tmp_path, scale=0.5)
    with pytest.raises(CommandLineError, match="has a scale between its noise"):
        attack_tool(path, project.checkpoint, *FAST, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_regions_are_attacked_beside_their_radii(project, tmp_path, attack_tool):
    options = ["--vanish", 1, "--vanish-share", 0.5, "--objects", "road"]
    options += ["--fabricate", "car", "--fabricate-pixels", 3, "--limit", 2]
    command = [project.config, project.checkpoint, *FAST[:5], "--steps", 2, *options]
    assert attack_tool(*command, "--out", tmp_path / "out") == 0
    result = report(tmp_path / "out")
    jsonschema.validate(result, json.loads(ATTACK_SCHEMA.read_text()))
    (fabricated,) = (row for row in result["regions"] if row["kind"] == "fabricate")
    assert (fabricated["class"], fabricated["count"]) == ("car", 2)
    (erased,) = (row for row in result["regions"] if row["kind"] == "vanish")
    assert (erased["class"], erased["count"]) == ("road", 2)
    for row in result["regions"]:
        assert [point["eps"] for point in row["at_eps"]] == [0.1, 0.5]
        assert all(point["certified"] <= point["withstood"] for point in row["at_eps"])
    with pytest.raises(CommandLineError, match="--fabricate: 'boat' is no class"):
        attack_tool(*command[:-6], "--fabricate", "boat")


def test_every_and_limit_choose_images(project, tmp_path, attack_tool):
    out = tmp_path / "out"
    attack_tool(project.config, project.checkpoint, *FAST, "--every", 2, "--out", out)
    names = [image["image"] for image in report(out)["per_image"]]
    assert [name.split("_")[2] for name in names] == ["000000", "000002"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--eps", "-0.1"], "-0.1"),
        (["--eps", "nan"], "nan"),
        (["--eps", 0.1, "--steps", 0], "steps must be at least 1, got 0"),
        (["--eps", 0.1, "--every", 0], "--every must be at least 1, got 0"),
        (["--eps", 0.1, "--threshold", 2], "threshold"),
    ],
)
def test_mistakes_are_named(project, tmp_path, attack_tool, arguments, message):
    with pytest.raises((CommandLineError, SystemExit), match=message):
        attack_tool(project.config, project.checkpoint, *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_clear_line_and_an_exit_code(project):
    result = subprocess.run(
        [sys.executable, TOOL, project.config, "absent.pth", "--eps", "0.1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == "error: checkpoint absent.pth does not exist"


def test_partial_checkpoint_is_refused(project, tmp_path, attack_tool):
    state = dict(project.model.state_dict())
    key = next(name for name in state if name.endswith("bn.bias"))
    del state[key]
    torch.save(dict(state_dict=state, meta={}), tmp_path / "partial.pth")
    with pytest.raises(CommandLineError, match=key):
        attack_tool(project.config, tmp_path / "partial.pth", *FAST, "--out", tmp_path / "out")
