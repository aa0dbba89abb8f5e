"""Networks in ONNX files: tested, certified and refused by the tools, and from Python."""

import hashlib
import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmseg_lipcert.apis import CertifiedSegInferencer
from mmseg_lipcert.utils.cli import CommandLineError

DRAWS = ["--n0", "3", "--n", "60", "--sigma", "0.02"]


@pytest.fixture(scope="module")
def exported(project, pointwise_file):
    """Config and file of a network of 20 outputs, the last of which stands for no class."""
    weight = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    path = pointwise_file(weight, bias=-0.5 * weight.sum(1))
    config = Config.fromfile(project.config)
    config.model = dict(
        type="OnnxSegmentor",
        path=str(path),
        num_classes=19,
        output_classes=[*range(19), -1],
        data_preprocessor=dict(
            type="SegDataPreProcessor", mean=[0.0] * 3, std=[255.0] * 3, bgr_to_rgb=True
        ),
    )
    config.dump(project.folder / "onnx.py")
    return project.folder / "onnx.py", path


def test_stock_test(test_tool, exported):
    test_tool(exported[0], "none")


@pytest.mark.parametrize("method", ["smoothing", "denoise"])
def test_certify(test_tool, exported, onnx_file, tmp_path, method):
    config, path = exported
    arguments = [config, "none", "--certify", method, *DRAWS, "--limit", "2"]
    if method == "denoise":
        shape = ["n", 3, "h", "w"]
        nodes = [("Mul", ["image", "one"], ["clean"], {})]
        denoiser = onnx_file(
            nodes, dict(image=shape), dict(clean=shape), dict(one=torch.tensor(1.0))
        )
        (tmp_path / "denoiser.py").write_text(
            f"denoiser = dict(type='OnnxDenoiser', path={str(denoiser)!r})"
        )
        arguments += ["--denoiser", tmp_path / "denoiser.py"]
    test_tool(*arguments, "--out", tmp_path / "out")
    result = json.loads((tmp_path / "out" / "certificate.json").read_text())
    assert result["method"] == method and (tmp_path / "out" / "report.html").is_file()
    assert result["model"]["type"] == "OnnxSegmentor"
    assert result["model"]["checkpoint"] == path.name
    assert result["model"]["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    if method == "denoise":
        assert (
            result["model"]["denoiser_sha256"] == hashlib.sha256(denoiser.read_bytes()).hexdigest()
        )
    assert 0 < result["certified"][0]["stability"] < 1


def test_a_checkpoint_is_for_other_networks(test_tool, exported, project):
    with pytest.raises(CommandLineError, match="give none instead"):
        test_tool(exported[0], project.checkpoint)
    for more in ([], ["--certify"]):
        with pytest.raises(CommandLineError, match="LipEncoderDecoder needs a checkpoint"):
            test_tool(project.config, "none", *more)


def test_attacks_are_refused(run_tool, exported, project, tmp_path):
    options = ["--eps", "0.1", "--out", tmp_path]
    with pytest.raises(CommandLineError, match=r"attacks follow gradients, and network.*\.onnx"):
        run_tool("attack.py", exported[0], "none", *options)
    with pytest.raises(CommandLineError, match="OnnxSegmentor needs none instead of"):
        run_tool("attack.py", exported[0], project.checkpoint, *options)
    with pytest.raises(CommandLineError, match="LipEncoderDecoder needs a checkpoint, not none"):
        run_tool("attack.py", project.config, "none", *options)


def test_there_is_no_lipschitz_bound(run_tool, test_tool, exported, capsys):
    with DefaultScope.overwrite_default_scope("mmseg"):
        assert run_tool("audit_lipschitz.py", exported[0]) == 1
    assert f"no bound ({exported[1]}): its network is a file" in capsys.readouterr().err
    with pytest.raises(CommandLineError, match="OnnxSegmentor has no Lipschitz bound"):
        test_tool(exported[0], "none", "--certify", "lipschitz")


@pytest.mark.skipif(torch.__version__ < "2.9", reason="the format is that of 2.9")
def test_attacks_follow_the_gradients_of_an_exported_network(run_tool, exported, project, tmp_path):
    images = torch.rand(2, 3, 32, 64)
    network = torch.nn.Conv2d(3, 20, 1).eval()
    torch.export.save(
        torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("n")},)),
        tmp_path / "network.pt2",
    )
    config = Config.fromfile(exported[0])
    config.model.update(type="ExportedSegmentor", path=str(tmp_path / "network.pt2"))
    config.dump(tmp_path / "exported.py")
    options = ["--eps", "20", "--attack", "pgd", "--steps", "5", "--limit", "1"]
    with DefaultScope.overwrite_default_scope("mmseg"):
        code = run_tool(
            "attack.py", tmp_path / "exported.py", "none", *options, "--out", tmp_path / "attack"
        )
    result = json.loads((tmp_path / "attack" / "attack.json").read_text())
    (row,) = result["results"]
    assert code == 0
    assert row["attacked"]["pixel_accuracy"] < result["clean"]["pixel_accuracy"]


def test_from_python(exported, project):
    with DefaultScope.overwrite_default_scope("mmseg"):
        certify = CertifiedSegInferencer(exported[0], method="smoothing", sigma=0.02, n0=3, n=60)
        image = np.random.default_rng(0).integers(256, size=(8, 9, 3), dtype=np.uint8)
        result = certify(image)
    assert 0 < result.stability() < 1
    with pytest.raises(Exception, match="no checkpoint was given"):
        CertifiedSegInferencer(project.config)
