"""tools/test.py as users call it: a certificate, its files, resuming, and errors in one line."""

import json
import shutil
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

from mmseg_lipcert.certificates import worst_case
from mmseg_lipcert.engine import CertificationError
from mmseg_lipcert.evaluation.metrics import LipschitzCertificateMetric
from mmseg_lipcert.models.segmentors import LipEncoderDecoder
from mmseg_lipcert.report import CERTIFICATE_SCHEMA
from mmseg_lipcert.utils.cli import CommandLineError
from mmseg_lipcert.utils.user_error import UserError

TOOL = Path(__file__).parents[2] / "tools" / "test.py"


def certificate(folder):
    return json.loads((folder / "certificate.json").read_text())


def without_times(result):
    return {
        key: value for key, value in result.items() if key not in ("cost", "environment", "model")
    }


@pytest.fixture(scope="module")
def finished(project, tmp_path_factory):
    """A finished certification by the tool, in a process of its own, and what it printed."""
    out = tmp_path_factory.mktemp("out") / "certificate"
    command = [project.config, project.checkpoint, "--certify", "--eps", "0.1", "0.5"]
    command += ["--out", out, "--show-dir", out / "pictures", "--work-dir", out.parent / "work"]
    result = subprocess.run(
        [sys.executable, TOOL, *command], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return out, result.stdout + result.stderr


def test_certificate_follows_its_schema(finished):
    result = certificate(finished[0])
    jsonschema.validate(result, json.loads(CERTIFICATE_SCHEMA.read_text()))
    assert result["method"] == "lipschitz" and result["images"] == 3
    assert [row["eps"] for row in result["certified"]] == [0.1, 0.5]
    assert result["lipschitz"]["lower_bound"] <= result["lipschitz"]["bound"] <= 1.01
    bound = result["lipschitz"]["preprocessing"] * result["lipschitz"]["network"]
    assert result["lipschitz"]["bound"] == pytest.approx(bound)


def test_certified_is_below_clean_and_falls_with_eps(finished):
    result = certificate(finished[0])
    rows = [result["clean"], *result["certified"]]
    for key in ("pixel_accuracy", "pixel_accuracy_dataset", "stability", "mIoU", "mAcc", "mDice"):
        values = [row[key] for row in rows]
        assert values == sorted(values, reverse=True), key
    assert result["certified"][0]["stability"] < 1


def test_maps_agree_with_the_certificate(finished, project):
    out, _ = finished
    result = certificate(out)
    accuracies = []
    for label_file in sorted((project.folder / "scenes" / "gtFine").rglob("*.png")):
        name = label_file.name.replace("_gtFine_labelTrainIds.png", "_leftImg8bit")
        (path,) = out.rglob(f"{name}.npz")
        maps = np.load(path)
        label = cv2.imread(str(label_file), cv2.IMREAD_UNCHANGED)
        assert maps["prediction"].shape == maps["radius"].shape == label.shape
        assert (maps["radius"] >= 0).all()
        valid = label != 255
        accuracies.append((maps["prediction"] == label)[valid].mean())
    assert np.mean(accuracies) == pytest.approx(result["clean"]["pixel_accuracy"], abs=1e-9)


def test_shows_progress_and_tables(finished):
    _, printed = finished
    assert "eta:" in printed
    assert "| clean |" in printed and "|   0.1 |" in printed
    assert "| traffic light |" in printed
    assert "Traceback" not in printed


def test_draws_one_picture_per_image(finished):
    pictures = sorted((finished[0] / "pictures").rglob("*.png"))
    assert len(pictures) == 6
    assert [path.stem.endswith("_regions") for path in pictures] == 3 * [False, True]
    for path in pictures[:2]:
        image = cv2.imread(str(path))
        assert image.shape[0] > 200 and image.std() > 10


def test_curve_is_drawn_and_mentioned(finished):
    out, printed = finished
    assert cv2.imread(str(out / "curve.png")).std() > 10
    assert str(out / "curve.png") in printed
    points = certificate(out)["curve"]
    assert [point["share"] for point in points] == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
    radii = [point["radius"] for point in points]
    assert radii == sorted(radii) and radii[0] >= 0


def test_objects_are_certified(finished, project):
    out, _ = finished
    rows = {row["class"]: row for row in certificate(out)["regions"]}
    lines = (out / "images.0.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines if line]
    found = sum(len(entry["regions"]) for entry in entries)
    assert found == sum(row["count"] for row in rows.values()) > 0
    assert rows["road"]["count"] >= 1 and rows["road"]["vanish_share"] == 0.9
    for entry in entries:
        (label_file,) = project.folder.rglob(
            Path(entry["image"]).name.replace("leftImg8bit", "gtFine_labelTrainIds.png")
        )
        label = cv2.imread(str(label_file), cv2.IMREAD_UNCHANGED)
        maps = np.load(out / "certificates" / f"{entry['image']}.npz")
        for region in entry["regions"]:
            top, left, bottom, right = region["box"]
            inside = label[top:bottom, left:right] == region["class"]
            assert 50 <= region["pixels"] <= inside.sum()
            right_ones = (maps["prediction"] == label)[top:bottom, left:right] & inside
            assert region["detected"] <= right_ones.sum()
            missed = region["pixels"] - region["detected"]
            assert (region["radius"] == 0) >= (missed >= 0.9 * region["pixels"])
    assert certificate(out)["fabrication"] == []


def test_invention_of_chosen_classes(project, tmp_path, test_tool):
    metric = dict(type="LipschitzCertificateMetric", fabricate_pixels=3, _delete_=True)
    for name in ("car", "boat"):
        evaluator = {**metric, "object_classes": [name]}
        config = f"_base_ = {str(project.config)!r}\ntest_evaluator = {evaluator}\n"
        (tmp_path / f"{name}.py").write_text(config)
    arguments = [project.checkpoint, "--certify", "--limit", 1, "--out"]
    test_tool(tmp_path / "car.py", *arguments, tmp_path / "o")
    (row,) = certificate(tmp_path / "o")["fabrication"]
    assert (row["class"], row["pixels"]) == ("car", 3) and row["median_radius"] >= 0
    with pytest.raises(CommandLineError, match="'boat' is no class of the dataset"):
        test_tool(tmp_path / "boat.py", *arguments, tmp_path / "p")


def test_objects_that_matter_are_the_headline(project, tmp_path, test_tool, capsys):
    options = ["--objects", "road", "car", "--vanish-share", 0.5, "--fabricate-pixels", 30]
    arguments = [project.config, project.checkpoint, "--certify", "--limit", 1, *options]
    test_tool(*arguments, "--out", tmp_path / "o")
    printed = capsys.readouterr()
    printed = printed.out + printed.err
    assert "false alarms per image" in printed and "| detected | no false alarm |" in printed
    found = certificate(tmp_path / "o")
    road, car = found["fabrication"]
    assert (road["class"], road["pixels"], car["class"]) == ("road", 30, "car")
    assert all(row["vanish_share"] == 0.5 for row in found["regions"])
    figures = [found["clean"], *found["certified"]]
    for name in ("detection", "alarm_free"):
        values = [row[name] for row in figures]
        assert values == sorted(values, reverse=True) and values[0] is not None
    assert cv2.imread(str(tmp_path / "o" / "objects.png")).std() > 5
    with pytest.raises(CommandLineError, match="--objects cannot go with --certify smoothing"):
        test_tool(*arguments[:2], "--certify", "smoothing", *options[:3], "--out", tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_resume_gives_the_same_certificate(finished, project, tmp_path, test_tool):
    out = tmp_path / "out"
    arguments = [project.config, project.checkpoint, "--certify", "--eps", 0.1, 0.5, "--out", out]
    test_tool(*arguments, "--limit", 1)
    assert certificate(out)["images"] == 1
    lines = out / "images.0.jsonl"
    lines.write_text(lines.read_text() + '\n{"image": "cut o')  # a crash in the middle of a line
    test_tool(*arguments, "--resume")
    resumed = certificate(out)
    assert resumed["images"] == 3
    assert without_times(resumed) == without_times(certificate(finished[0]))
    assert len([line for line in lines.read_text().splitlines() if line]) == 4, "nothing redone"
    test_tool(*arguments, "--resume")
    assert without_times(certificate(out)) == without_times(resumed)


def test_an_answer_that_changes_during_the_run_voids_it(project, tmp_path, test_tool, monkeypatch):
    predict = LipEncoderDecoder.predict

    def drifting(self, inputs, data_samples):
        samples = predict(self, inputs, data_samples)
        with torch.no_grad():
            next(self.network.parameters()).mul_(1.01)
        return samples

    arguments = [project.config, project.checkpoint, "--certify", "--out", tmp_path / "out"]
    monkeypatch.setattr(LipEncoderDecoder, "predict", drifting)
    with pytest.raises(CommandLineError, match="answer to the same input has changed"):
        test_tool(*arguments)
    assert not (tmp_path / "out" / "certificate.json").exists()
    monkeypatch.undo()
    with pytest.raises(CommandLineError, match="is void: .* has changed"):
        test_tool(*arguments, "--resume")


def test_images_that_changed_are_not_resumed(project, tmp_path, test_tool):
    scenes, out = tmp_path / "scenes", tmp_path / "out"
    options = edited_scenes(project, tmp_path, lambda _: None)
    arguments = [project.config, project.checkpoint, "--certify", "--out", out, *options]
    test_tool(*arguments, "--limit", 1)
    first = sorted((scenes / "leftImg8bit").rglob("*.png"))[0]
    cv2.imwrite(str(first), 255 - cv2.imread(str(first)))
    with pytest.raises(CommandLineError, match=f"{first.name} or its labels have changed"):
        test_tool(*arguments, "--resume")


def test_another_dataset_is_not_resumed(project, tmp_path, test_tool):
    out = tmp_path / "out"
    arguments = [project.config, project.checkpoint, "--certify", "--out", out]
    test_tool(*arguments, "--limit", 1)
    options = edited_scenes(project, tmp_path, lambda _: None)
    with pytest.raises(CommandLineError, match="other settings: dataset was"):
        test_tool(*arguments, "--resume", *options)


def test_images_with_one_name_are_refused(project, tmp_path, test_tool):
    def double(scenes):
        image = sorted((scenes / "leftImg8bit").rglob("*.png"))[0]
        shutil.copy(image, image.with_suffix(".jpg"))

    options = edited_scenes(project, tmp_path, double)
    options.append("test_dataloader.dataset.img_suffix=('.png','.jpg')")
    with pytest.raises(CommandLineError, match="are both called"):
        test_tool(project.config, project.checkpoint, "--certify", *options)


def test_finished_work_is_never_overwritten(finished, project, test_tool):
    out, _ = finished
    before = (out / "certificate.json").read_bytes()
    arguments = [project.config, project.checkpoint, "--certify", "--out", out, "--eps"]
    with pytest.raises(CommandLineError, match="already holds a certification.*--resume"):
        test_tool(*arguments, 0.1, 0.5)
    with pytest.raises(CommandLineError, match=r"other settings: eps was \[0.1, 0.5\]"):
        test_tool(*arguments, 0.1, 0.7, "--resume")
    assert (out / "certificate.json").read_bytes() == before


def test_every_and_limit_choose_images(project, tmp_path, test_tool):
    test_tool(
        project.config, project.checkpoint, "--certify", "--every", 2, "--out", tmp_path / "o"
    )
    names = [path.stem for path in (tmp_path / "o" / "certificates").rglob("*.npz")]
    assert sorted(name.split("_")[2] for name in names) == ["000000", "000002"]


def test_one_clear_line_and_an_exit_code(project):
    result = subprocess.run(
        [sys.executable, TOOL, project.config, "absent.pth", "--certify"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == "error: checkpoint absent.pth does not exist"
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("eps", "message"), [(["-0.1"], "-0.1"), (["nan"], "nan"), (["inf"], "inf")]
)
def test_bad_eps(project, test_tool, eps, message):
    with pytest.raises((CommandLineError, SystemExit), match=message):
        test_tool(project.config, project.checkpoint, "--certify", f"--eps={eps[0]}")


def test_options_of_certification_need_it(project, test_tool):
    with pytest.raises(CommandLineError, match="--eps.*need --certify"):
        test_tool(project.config, project.checkpoint, "--eps", 0.1)


@pytest.mark.parametrize("kind", ["missing", "unexpected", "shape"])
def test_partial_checkpoint_is_refused(kind, project, tmp_path, test_tool):
    state = dict(project.model.state_dict())
    key = next(name for name in state if name.endswith("bn.bias"))
    if kind == "missing":
        del state[key]
    elif kind == "unexpected":
        state["backbone.extra"] = torch.zeros(1)
        key = "backbone.extra"
    else:
        state[key] = torch.zeros(7)
    torch.save(dict(state_dict=state, meta={}), tmp_path / "partial.pth")
    with pytest.raises(CommandLineError, match=key):
        test_tool(project.config, tmp_path / "partial.pth", "--certify", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def edited_scenes(project, tmp_path, edit):
    """Config of a copy of the scenes with one file changed."""
    shutil.copytree(project.folder / "scenes", tmp_path / "scenes")
    edit(tmp_path / "scenes")
    return ["--cfg-options", f"test_dataloader.dataset.data_root={tmp_path / 'scenes'}"]


def test_unreadable_image_is_named_before_any_work(project, tmp_path, test_tool):
    def damage(scenes):
        next((scenes / "leftImg8bit").rglob("*000001_leftImg8bit.png")).write_bytes(b"not a png")

    options = edited_scenes(project, tmp_path, damage)
    with pytest.raises(CommandLineError, match="000001_leftImg8bit.png"):
        test_tool(
            project.config, project.checkpoint, "--certify", "--out", tmp_path / "o", *options
        )
    assert not list((tmp_path / "o").rglob("*.npz"))


def test_foreign_labels_are_named(project, tmp_path, test_tool):
    def relabel(scenes):
        path = next((scenes / "gtFine").rglob("*000002_gtFine_labelTrainIds.png"))
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        labels[0, 0] = 77
        cv2.imwrite(str(path), labels)

    options = edited_scenes(project, tmp_path, relabel)
    with pytest.raises(CommandLineError, match="000002_gtFine.*77"):
        test_tool(project.config, project.checkpoint, "--certify", *options)


def test_what_fails_before_the_first_image_leaves_the_folder_free(project, tmp_path, test_tool):
    def ignore_everything(scenes):
        for path in (scenes / "gtFine").rglob("*_gtFine_labelTrainIds.png"):
            cv2.imwrite(str(path), np.full((32, 64), 255, np.uint8))

    options = edited_scenes(project, tmp_path, ignore_everything)
    command = [project.config, project.checkpoint, "--certify", "--out", tmp_path / "o"]
    with pytest.raises(CommandLineError, match="no pixel of the 3 images has a label"):
        test_tool(*command, *options)
    assert not (tmp_path / "o").exists()
    test_tool(*command, "--limit", 1)
    assert certificate(tmp_path / "o")["images"] == 1


def test_a_value_that_no_image_may_have_is_one_line(project, tmp_path, test_tool, monkeypatch):
    def refuse(*args, **kwargs):
        raise UserError("image 7 is odd")

    monkeypatch.setattr(LipschitzCertificateMetric, "calculate", refuse)
    with pytest.raises(CommandLineError, match="image 7 is odd"):
        test_tool(project.config, project.checkpoint, "--certify", "--out", tmp_path / "o")


def test_an_interruption_says_how_to_go_on(project, tmp_path, test_tool, monkeypatch, capsys):
    certify, images = LipschitzCertificateMetric.calculate, []

    def stop_at_the_second(*args, **kwargs):
        images.append(args)
        if len(images) == 2:
            raise KeyboardInterrupt
        return certify(*args, **kwargs)

    monkeypatch.setattr(LipschitzCertificateMetric, "calculate", stop_at_the_second)
    command = [project.config, project.checkpoint, "--certify", "--out", tmp_path / "o"]
    with pytest.raises(KeyboardInterrupt):
        test_tool(*command)
    assert "go on with --resume" in capsys.readouterr().err
    test_tool(*command, "--resume")
    assert certificate(tmp_path / "o")["images"] == 3 and len(images) == 4


def test_empty_dataset_is_refused(project, tmp_path, test_tool):
    def empty(scenes):
        for path in scenes.rglob("*.png"):
            path.unlink()

    options = edited_scenes(project, tmp_path, empty)
    with pytest.raises(CommandLineError, match="no images"):
        test_tool(project.config, project.checkpoint, "--certify", *options)


def test_model_without_bound_is_refused(project, tmp_path, test_tool):
    options = ["--cfg-options", "model.type=EncoderDecoder"]
    with pytest.raises(CommandLineError, match="EncoderDecoder has no Lipschitz bound"):
        test_tool(
            project.config,
            project.checkpoint,
            "--certify",
            "lipschitz",
            "--out",
            tmp_path / "o",
            *options,
        )


def test_the_console_shows_the_run_and_the_log_the_rest(project, test_tool, tmp_path, capfd):
    test_tool(project.config, project.checkpoint, "--certify", "--eps", 0.1)
    shown = "".join(capfd.readouterr())
    places = [
        shown.index(text)
        for text in (
            *(
                "Lipschitz bound of",
                "Certifying 3 images (0 already finished) by lipschitz (eps 0.1)",
            ),
            *("3 of 3 images", "Guaranteed under", "Certificate written to", "Report written to"),
        )
    ]
    assert places == sorted(places) and "\n" not in shown[places[-1] :].strip()
    (log,) = (tmp_path / "work").glob("*/*.log")
    hidden = ("Config:", "(test) [", "System environment")
    assert {text for text in hidden if text in log.read_text()} == {*hidden}
    # A warning is given once, perhaps by an earlier test.
    assert {text for text in (*hidden, "UserWarning") if text in shown} == set()


def test_stock_testing_works_without_certification(project, test_tool, tmp_path, capsys):
    test_tool(project.config, project.checkpoint, "--out", tmp_path / "predictions")
    assert len(list((tmp_path / "predictions").rglob("*.png"))) == 3


def test_config_alone_certifies_with_the_stock_runner(finished, project, tmp_path, mmseg_scope):
    from mmengine.runner import Runner

    config = Config.fromfile(project.config)
    config.work_dir = str(tmp_path)
    config.load_from = str(project.checkpoint)
    config.custom_hooks = [dict(type="CertificationHook")]
    config.test_evaluator = dict(type="LipschitzCertificateMetric", eps=[0.1, 0.5])
    metrics = Runner.from_cfg(config).test()
    result = certificate(tmp_path / "certification")
    assert without_times(result) == without_times(certificate(finished[0]))
    assert metrics["certified/pixel_accuracy@0.5"] == result["certified"][1]["pixel_accuracy"]


def test_random_weights_are_refused(project, tmp_path, mmseg_scope):
    from mmengine.runner import Runner

    config = Config.fromfile(project.config)
    config.work_dir = str(tmp_path)
    config.custom_hooks = [dict(type="CertificationHook")]
    config.test_evaluator = dict(type="LipschitzCertificateMetric")
    with pytest.raises(CertificationError, match="no checkpoint was loaded"):
        Runner.from_cfg(config).test()


def test_free_classifier_is_certified_through_its_weights(project, tmp_path, test_tool):
    options = ["--cfg-options", "model.decode_head.free_classifier=True"]
    config = Config.fromfile(project.config)
    config.model.decode_head.free_classifier = True
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(config.model)
        dataset = DATASETS.build(config.test_dataloader.dataset)
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, std=5.0)
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / "free.pth")
    out = tmp_path / "out"
    arguments = [project.config, tmp_path / "free.pth", "--certify", "--eps", 0.3, "--out", out]
    test_tool(*arguments, *options)
    model.eval()
    expected = []
    for data in dataset:
        target = data["data_samples"].gt_sem_seg.data[0]
        batch = dict(inputs=[data["inputs"]], data_samples=[data["data_samples"]])
        with torch.no_grad():
            logits = model.network(model.data_preprocessor(batch)["inputs"])[0]
        weight = model.decode_head.conv_seg.weight.detach().flatten(1)
        bound = model.lipschitz_bound(tuple(logits.shape[1:]))
        value = worst_case(logits, target, "pixel_accuracy", 0.3, bound, classifier=weight)
        expected.append(value.item())
        wrong = worst_case(logits, target, "pixel_accuracy", 0.3, bound).item()
        assert wrong > value.item(), "the bound of the features is not one of the logits"
    result = certificate(out)["certified"][0]["pixel_accuracy"]
    assert result == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.parametrize("backend", ["LocalVisBackend", "TensorboardVisBackend"])
def test_certified_figures_reach_the_backends_of_the_visualizer(
    project, test_tool, tmp_path, backend
):
    if backend == "TensorboardVisBackend":
        loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out = tmp_path / "out"
    arguments = [project.config, project.checkpoint, "--certify", "--eps", 0.1, "--limit", 1]
    # Of a name of its own, as the visualizer of another test would be taken again.
    options = [f"visualizer.vis_backends.0.type={backend}", f"visualizer.name={backend}"]
    test_tool(*arguments, "--out", out, "--cfg-options", *options)
    row = certificate(out)["certified"][0]
    if backend == "LocalVisBackend":
        (file,) = (tmp_path / "work").rglob("scalars.json")
        (written,) = (json.loads(line) for line in file.read_text().splitlines())
        assert written["step"] == 0
    else:
        (file,) = (tmp_path / "work").rglob("events.out.tfevents*")
        events = loader.EventAccumulator(str(file)).Reload()
        written = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
    for name in ("pixel_accuracy", "mIoU"):
        assert written[f"certified/{name}@0.1"] == pytest.approx(row[name], rel=1e-6)
