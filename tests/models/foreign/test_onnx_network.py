import hashlib

import numpy as np
import pytest
import torch

from mmseg_lipcert.models.foreign import OnnxNetwork

IMAGE = dict(image=["n", 3, "h", "w"])
LOGITS = dict(logits=["n", 3, "h", "w"])


def test_it_is_what_onnxruntime_computes(pointwise_file):
    ort = pytest.importorskip("onnxruntime")
    path = pointwise_file(torch.randn(4, 3), torch.randn(4))
    network = OnnxNetwork(path)
    images = torch.rand(2, 3, 5, 7)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (direct,) = session.run(None, {"image": images.numpy()})
    np.testing.assert_array_equal(network(images).numpy(), direct)
    assert network.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert network.input_shapes == ((None, 3, None, None),)
    assert network.output_shape == (None, 4, None, None)
    assert network.file_sha256 in repr(network) and "(n, 3, ?, ?)" in repr(network)


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_a_fixed_batch_gives_the_same_for_any_number_of_images(pointwise_file, batch):
    weight = torch.randn(4, 3)
    images = torch.rand(4, 3, 5, 7)
    fixed = OnnxNetwork(pointwise_file(weight, batch=batch))
    torch.testing.assert_close(fixed(images), OnnxNetwork(pointwise_file(weight))(images))


def test_another_shape_is_refused(pointwise_file):
    network = OnnxNetwork(pointwise_file(torch.randn(4, 3), size=(5, 7)))
    with pytest.raises(ValueError, match=r"takes \(n, 3, 5, 7\), got \(1, 3, 5, 8\)"):
        network(torch.rand(1, 3, 5, 8))


def test_half_precision_is_converted(onnx_file):
    half = dict.fromkeys(("image", "logits"), 10)
    path = onnx_file([("Neg", ["image"], ["logits"], {})], IMAGE, LOGITS, types=half)
    images = torch.rand(1, 3, 2, 2)
    torch.testing.assert_close(OnnxNetwork(path)(images), -images.half())


def test_integers_are_refused(onnx_file):
    path = onnx_file(
        [("Identity", ["image"], ["logits"], {})],
        IMAGE,
        LOGITS,
        types=dict.fromkeys(("image", "logits"), 2),
    )
    with pytest.raises(ValueError, match=r"image is a tensor\(uint8\)"):
        OnnxNetwork(path)


def test_several_outputs_have_to_be_chosen_from(onnx_file):
    nodes = [("Neg", ["image"], ["logits"], {}), ("Abs", ["image"], ["other"], {})]
    path = onnx_file(nodes, IMAGE, LOGITS | dict(other=["n", 3, "h", "w"]))
    with pytest.raises(ValueError, match=r"several outputs \(logits, other\)"):
        OnnxNetwork(path)
    with pytest.raises(ValueError, match="no output absent, only logits, other"):
        OnnxNetwork(path, output="absent")
    images = -torch.rand(1, 3, 2, 2)
    torch.testing.assert_close(OnnxNetwork(path, output="other")(images), -images)


def test_weights_in_other_files_are_refused(onnx_file):
    path = onnx_file(
        [("Add", ["image", "weight"], ["logits"], {})],
        IMAGE,
        LOGITS,
        dict(weight=torch.rand(3, 64, 64)),
        save_as_external_data=True,
        location="weights.bin",
    )
    assert (path.parent / "weights.bin").is_file()
    with pytest.raises(ValueError, match=r"weights lie in another file \(weight\)"):
        OnnxNetwork(path)


@pytest.mark.parametrize(
    "node",
    [("RandomNormalLike", ["image"], ["noise"], {}), ("Bernoulli", ["image"], ["noise"], {})],
)
def test_own_random_numbers_are_refused(onnx_file, node):
    nodes = [node, ("Add", ["image", "noise"], ["logits"], {})]
    with pytest.raises(ValueError, match=f"{node[0]}.* draws random numbers"):
        OnnxNetwork(onnx_file(nodes, IMAGE, LOGITS))


@pytest.mark.parametrize("training", [True, False])
def test_dropout_only_in_evaluation(onnx_file, training):
    path = onnx_file(
        [("Dropout", ["image", "ratio", "training"], ["logits"], {})],
        IMAGE,
        LOGITS,
        dict(ratio=torch.tensor(0.5), training=torch.tensor(training)),
    )
    if training:
        with pytest.raises(ValueError, match=r"Dropout .* draws random numbers"):
            OnnxNetwork(path)
    else:
        images = torch.rand(1, 3, 2, 2)
        torch.testing.assert_close(OnnxNetwork(path)(images), images)


def test_random_numbers_inside_of_a_branch_are_found(onnx_file):
    helper = pytest.importorskip("onnx").helper
    value = helper.make_tensor_value_info("branch", 1, None)
    branch = helper.make_graph(
        [helper.make_node("RandomNormal", [], ["branch"], shape=[1])], "branch", [], [value]
    )
    nodes = [
        ("If", ["condition"], ["noise"], dict(then_branch=branch, else_branch=branch)),
        ("Add", ["image", "noise"], ["logits"], {}),
    ]
    path = onnx_file(nodes, IMAGE, LOGITS, dict(condition=torch.tensor(True)))
    with pytest.raises(ValueError, match="RandomNormal .* draws random numbers"):
        OnnxNetwork(path)


@pytest.mark.parametrize("operation", ["PythonOp", "EPContext"])
def test_code_outside_of_the_file_is_refused(onnx_file, operation):
    nodes = [(operation, ["image"], ["logits"], dict(domain="com.microsoft"))]
    with pytest.raises(ValueError, match=f"{operation} .* calls code outside of the file"):
        OnnxNetwork(onnx_file(nodes, IMAGE, LOGITS))


def test_unknown_operations_and_files_are_named(onnx_file, tmp_path):
    with pytest.raises(ValueError, match=r"cannot run .*Wonder"):
        OnnxNetwork(onnx_file([("Wonder", ["image"], ["logits"], {})], IMAGE, LOGITS))
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(ValueError, match="is no ONNX file"):
        OnnxNetwork(tmp_path / "bad.onnx")
    with pytest.raises(FileNotFoundError, match="nothing is downloaded"):
        OnnxNetwork(tmp_path / "absent.onnx")


def test_providers_and_threads_are_checked(pointwise_file):
    path = pointwise_file(torch.randn(4, 3))
    with pytest.raises(ValueError, match=r"no provider NoneSuch; .*CPUExecutionProvider"):
        OnnxNetwork(path, providers=["NoneSuch"])
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        OnnxNetwork(path, threads=0)
    threads = OnnxNetwork(path, threads=3).session.get_session_options().intra_op_num_threads
    assert threads == 3


def test_autocast_is_refused(pointwise_file):
    network = OnnxNetwork(pointwise_file(torch.randn(4, 3)))
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(ValueError, match="no effect"):
        network(torch.rand(1, 3, 2, 2))
