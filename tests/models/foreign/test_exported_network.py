import io
import json
import pickle
import zipfile

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import nn
from torch.export import Dim

from mmseg_lipcert.models.foreign import ExportedNetwork

pytestmark = pytest.mark.skipif(torch.__version__ < "2.9", reason="the format is that of 2.9")


class Network(nn.Module):
    """Operations that segmentors are made of."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(True))
        self.last = nn.Sequential(nn.Dropout(), nn.Conv2d(8, 4, 1))
        self.register_buffer("scale", torch.full((1,), 2.0))

    def forward(self, x):
        features = F.max_pool2d(self.first(x), 2)
        parts = features.chunk(2, dim=1)
        features = torch.cat([parts[1].softmax(1), parts[0]], dim=1) * self.scale
        size = x.shape[2:]
        return F.interpolate(self.last(features), size=size, mode="bilinear", align_corners=False)


def export(network, path, shapes=None):
    images = torch.rand(2, 3, 16, 24)
    side = [2 * Dim(name, min=2, max=500) for name in "hw"]
    free = ({0: Dim("n"), 2: side[0], 3: side[1]},)
    torch.export.save(torch.export.export(network, (images,), dynamic_shapes=shapes or free), path)
    return path


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = Network()
    network(torch.rand(4, 3, 16, 16))
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    return export(network, tmp_path_factory.mktemp("exported") / "network.pt2")


def changed(file, path, change):
    """A copy of an archive whose files were changed: a dict of their contents."""
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(content)).split("/")[0]
    change(content, root)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def change_graph(edit):
    def change(content, root):
        (name,) = [name for name in content if name.startswith(f"{root}/models/")]
        program = json.loads(content[name])
        edit(program["graph_module"]["graph"])
        content[name] = json.dumps(program).encode()

    return change


@pytest.mark.parametrize("size", [(16, 24), (10, 36)])
def test_it_is_the_network(network, file, size):
    images = torch.rand(3, 3, *size)
    loaded = ExportedNetwork(file)
    torch.testing.assert_close(loaded(images), network(images))
    assert loaded.input_shapes == ((None, 3, None, None),)
    assert loaded.output_shape[:2] == (None, 4)
    assert len(loaded.file_sha256) == 64


def test_gradients_go_through(network, file):
    images = torch.rand(1, 3, 8, 8, requires_grad=True)
    gradients = [
        torch.autograd.grad(function(images).square().sum(), images)[0]
        for function in (ExportedNetwork(file), network)
    ]
    torch.testing.assert_close(*gradients)


def test_fixed_shapes_are_known(network, tmp_path):
    loaded = ExportedNetwork(export(network, tmp_path / "fixed.pt2", ({},)))
    assert loaded.input_shapes == ((2, 3, 16, 24),)
    images = torch.rand(3, 3, 16, 24)
    torch.testing.assert_close(loaded(images), network(images))


def test_images_are_not_written_to(tmp_path):
    path = export(nn.ReLU(inplace=True), tmp_path / "relu.pt2")
    images = -torch.rand(1, 3, 8, 8)
    assert (ExportedNetwork(path)(images) == 0).all() and (images < 0).any()


def test_code_in_a_file_is_not_run(file, tmp_path):
    mark = tmp_path / "mark"

    class Intruder:
        def __reduce__(self):
            return open, (str(mark), "w")

    def pickled_inputs(content, root):
        buffer = io.BytesIO()
        torch.save(Intruder(), buffer)
        content[f"{root}/data/sample_inputs/model.pt"] = buffer.getvalue()

    ExportedNetwork(changed(file, tmp_path / "inputs.pt2", pickled_inputs))

    def pickled_weight(content, root):
        (name,) = [name for name in content if name.endswith("_weights_config.json")]
        listed = json.loads(content[name])
        entry = next(iter(listed["config"].values()))
        entry["use_pickle"] = True
        content[name] = json.dumps(listed).encode()
        content[f"{root}/data/weights/{entry['path_name']}"] = pickle.dumps(Intruder())

    with pytest.raises(ValueError, match="is pickled, which could run code"):
        ExportedNetwork(changed(file, tmp_path / "weight.pt2", pickled_weight))

    def text(graph):
        for value in graph["tensor_values"].values():
            value["sizes"] = [{"as_expr": {"expr_str": f"open({str(mark)!r}, 'w')", "hint": None}}]

    ExportedNetwork(changed(file, tmp_path / "text.pt2", change_graph(text)))
    assert not mark.exists()


@pytest.mark.parametrize(
    "target",
    [
        "torch.load",
        "torch.os.system",
        "torch.ops.prim.Print",
        "torch.ops.aten.__class__.mro",
        "torch.ops.aten.relu.__class__",
        "math.__loader__.load_module",
        "_operator.methodcaller",
        "#call",
    ],
)
def test_other_functions_are_refused(file, tmp_path, target):
    def rename(graph):
        graph["nodes"][0]["target"] = target

    with pytest.raises(ValueError, match="is no operation of ATen; nothing else is run"):
        ExportedNetwork(changed(file, tmp_path / "bad.pt2", change_graph(rename)))


def test_files_and_random_numbers_are_refused(file, tmp_path):
    def from_file(graph):
        graph["nodes"][0]["target"] = "torch.ops.aten.from_file.default"

    with pytest.raises(ValueError, match="reads or writes files"):
        ExportedNetwork(changed(file, tmp_path / "file.pt2", change_graph(from_file)))

    class Noisy(nn.Module):
        def forward(self, x):
            return x + torch.rand_like(x)

    for network in (Noisy(), nn.Dropout().train()):
        with pytest.raises(ValueError, match="draws random numbers"):
            ExportedNetwork(export(network, tmp_path / "noisy.pt2"))


def test_weights_that_change_are_refused(tmp_path):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x):
            self.calls.add_(1)
            return x + self.calls

    with pytest.raises(ValueError, match="outputs of the kinds|changes its own weights"):
        ExportedNetwork(export(Counting(), tmp_path / "counting.pt2"))(torch.rand(2, 3, 8, 8))


def test_weights_outside_of_their_file_are_refused(file, tmp_path):
    def shorten(content, root):
        content[f"{root}/data/weights/weight_0"] = content[f"{root}/data/weights/weight_0"][:8]

    with pytest.raises(ValueError, match="does not fit its description"):
        ExportedNetwork(changed(file, tmp_path / "short.pt2", shorten))


def test_other_files_are_named(tmp_path):
    (tmp_path / "bad.pt2").write_bytes(b"no network")
    torch.save({}, tmp_path / "weights.pt2")
    for name in ("bad", "weights"):
        with pytest.raises(ValueError, match=r"is no file of torch\.export\.save"):
            ExportedNetwork(tmp_path / f"{name}.pt2")


def test_torchscript_is_refused_with_the_reason(tmp_path):
    torch.jit.save(torch.jit.trace(nn.ReLU(), torch.rand(1, 3, 2, 2)), tmp_path / "script.pt")
    with pytest.raises(ValueError, match="is TorchScript, which runs code of the file while it is"):
        ExportedNetwork(tmp_path / "script.pt")


def test_as_a_segmentor(network, file, mmseg_scope):
    model = MODELS.build(
        dict(
            type="ExportedSegmentor",
            path=str(file),
            num_classes=3,
            output_classes=[0, 1, 2, -1],
            data_preprocessor=dict(type="SegDataPreProcessor"),
        )
    ).eval()
    images = torch.rand(2, 3, 8, 10)
    samples = model.predict(images)
    labels = torch.stack([sample.pred_sem_seg.data[0] for sample in samples])
    assert (labels == network(images)[:, :3].argmax(1)).all() and model.differentiable
