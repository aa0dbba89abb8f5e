"""Files that are no checkpoint are named, and no code of a checkpoint runs."""

import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from mmseg_lipcert.utils.checkpoint import read_checkpoint, read_weights
from mmseg_lipcert.utils.user_error import UserError

WEIGHTS = {"module.a": torch.arange(3.0), "b": torch.zeros(2, 2)}


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_weights_alone_or_in_a_checkpoint_in_both_formats(tmp_path, new, wrapped):
    path = tmp_path / "good.pth"
    content = dict(state_dict=WEIGHTS, meta=dict(epoch=3)) if wrapped else WEIGHTS
    torch.save(content, path, _use_new_zipfile_serialization=new)
    weights = read_weights(path)
    assert list(weights) == ["a", "b"]
    assert torch.equal(weights["a"], WEIGHTS["module.a"])


def test_what_training_keeps_beside_the_weights_is_read(tmp_path):
    history = HistoryBuffer()
    history.update(1.0)
    history.update(2.0)
    meta = dict(palette=np.eye(3, dtype=np.uint8), seed=np.int64(3), classes=("a",))
    torch.save(
        dict(state_dict=WEIGHTS, meta=meta, message_hub=dict(log_scalars=dict(loss=history))),
        tmp_path / "epoch_1.pth",
    )
    checkpoint = read_checkpoint(tmp_path / "epoch_1.pth")
    assert checkpoint["message_hub"]["log_scalars"]["loss"].mean() == 1.5
    np.testing.assert_array_equal(checkpoint["meta"]["palette"], np.eye(3))


CONTENTS = {
    "list": ([1], "holds a list, no state_dict"),
    "none": (None, "holds a NoneType"),
    "text": ("hello", "holds a str"),
    "number": (7, "holds a int"),
    "nothing": ({}, "holds nothing in place of a state_dict"),
    "list of weights": (dict(state_dict=[torch.zeros(1)]), "holds a list in place"),
    "numbers as names": ({1: torch.zeros(1)}, "names of weights must be text, one is 1"),
    "no tensors": ({"a": [1.0]}, "a must be a tensor, it is a list"),
    "sparse": ({"a": torch.eye(3).to_sparse()}, "a must be a dense tensor, it is torch.sparse"),
}


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(("content", "message"), CONTENTS.values(), ids=CONTENTS)
def test_contents_that_are_no_weights(tmp_path, content, message, new):
    path = tmp_path / "bad.pth"
    torch.save(content, path, _use_new_zipfile_serialization=new)
    with pytest.raises(UserError, match=rf"bad\.pth:? {message}"):
        read_weights(path)


def write_zip(path, name):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, b"content")


FILES = {
    "text": (lambda p: p.write_text("hello"), "cannot be read: it is no checkpoint"),
    "page": (lambda p: p.write_text("\n<!DOCTYPE html>"), "is a web page"),
    "json": (lambda p: p.write_text('{"error": 404}'), "is a text in JSON"),
    "pointer": (
        lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1"),
        "is a Git LFS pointer: fetch",
    ),
    "empty": (lambda p: p.write_bytes(b""), "is empty; fetch it again"),
    "zip without folder": (lambda p: write_zip(p, "data.pkl"), "cannot be read"),
    "another zip": (lambda p: write_zip(p, "folder/readme"), "cannot be read"),
    "plain pickle": (lambda p: p.write_bytes(pickle.dumps([1])), "cannot be read"),
    "folder": (lambda p: p.mkdir(), "is a folder"),
    "nothing": (lambda p: None, "does not exist"),
    "torchscript": (
        lambda p: torch.jit.save(torch.jit.script(torch.nn.ReLU()), str(p)),
        "holds TorchScript, and no code",
    ),
    "module": (
        lambda p: torch.save(torch.nn.ReLU(), p),
        r"holds torch\.nn\.modules\.activation\.ReLU, and no code of a checkpoint is ever run",
    ),
}


@pytest.mark.parametrize(("write", "message"), FILES.values(), ids=FILES)
def test_files_that_are_no_checkpoint(tmp_path, write, message):
    write(tmp_path / "bad.pth")
    with pytest.raises(UserError, match=rf"^checkpoint \S*bad\.pth {message}") as raised:
        read_weights(tmp_path / "bad.pth")
    assert "weights_only" not in str(raised.value), "PyTorch's advice would run the code"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_cut_file(tmp_path, share):
    path = tmp_path / "cut.pth"
    torch.save(WEIGHTS, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="cut.pth cannot be read: .* cut off or damaged; fetch"):
        read_weights(path)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


class Climb:
    """Asks getattr for more than the methods of a history."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, "__init__")


def write_tar(path, trap):
    (path.parent / "pickle").write_bytes(pickle.dumps(trap))
    with tarfile.open(path, "w") as file:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            file.add(path.parent / "pickle", name)


TRAPS = {
    "new": lambda p, trap: torch.save(dict(state_dict=WEIGHTS, meta=trap), p),
    "old": lambda p, trap: torch.save(
        dict(state_dict=WEIGHTS, meta=trap), p, _use_new_zipfile_serialization=False
    ),
    "plain": lambda p, trap: p.write_bytes(pickle.dumps(trap)),
    "plain, protocol 0": lambda p, trap: p.write_bytes(pickle.dumps(trap, 0)),
    "tar": write_tar,
}


@pytest.mark.parametrize("load", [read_checkpoint, CheckpointLoader.load_checkpoint])
@pytest.mark.parametrize("write", TRAPS.values(), ids=TRAPS)
def test_no_code_runs(tmp_path, write, load):
    write(tmp_path / "trap.pth", Trap(tmp_path / "sprung"))
    with pytest.raises(UserError, match="trap.pth"):
        load(str(tmp_path / "trap.pth"))
    assert not (tmp_path / "sprung").exists()
    with open(tmp_path / "own.pkl", "wb") as file:  # the trap works where code may run
        pickle.dump(Trap(tmp_path / "sprung"), file)
    pickle.loads((tmp_path / "own.pkl").read_bytes())
    assert (tmp_path / "sprung").exists()


def test_getattr_reaches_nothing_else(tmp_path):
    torch.save(dict(WEIGHTS, climb=Climb()), tmp_path / "climb.pth")
    with pytest.raises(UserError, match="climb.pth holds getattr, and no code"):
        read_checkpoint(tmp_path / "climb.pth")
