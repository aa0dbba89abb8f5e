"""A run that is killed at any of its writes, or finds the disk full, and is resumed, ends as if
nothing had happened: same records, maps, pictures, certificate and report."""

import builtins
import errno
import hashlib
import io
import os
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from torch import nn

from mmseg_lipcert.engine import CertificateStore, CertificationError
from mmseg_lipcert.engine.certifiers import certifier, lipschitz_certifier
from mmseg_lipcert.engine.hooks import certification_hook
from mmseg_lipcert.report import certificate_file, html_report
from mmseg_lipcert.utils.whole_file import whole_file

#: Everything that a run of two images writes, in this order.
IMAGE = ["certificates/{}.npz.partial", "images.0.jsonl", "show/{}.png", "show/{}_regions.png"]
WRITES = [
    *("run.json", "audit.json.partial"),
    *(name.format(image) for image in "ab" for name in IMAGE),
    *("certificate.json.partial", "curve.png", "report.html.partial"),
]


@MODELS.register_module(force=True)
class LinearSegmentor(BaseModel):
    """Two classes from the colors of each pixel: a map whose Lipschitz bound is a matrix norm."""

    num_classes = 2
    has_free_classifier = False

    def __init__(self):
        super().__init__(data_preprocessor=dict(type="SegDataPreProcessor"))
        self.network = nn.Conv2d(3, 2, 1)
        self.memory = 0.0

    def forward(self, inputs, data_samples, mode):
        for sample, logits in zip(data_samples, self.network(inputs), strict=True):
            sample.set_metainfo(dict(input_size=tuple(inputs.shape[2:]), logit_stride=1))
            sample.seg_logits = PixelData(data=logits)
            sample.pred_sem_seg = PixelData(data=logits.argmax(0)[None])
        return data_samples

    def lipschitz_audit(self, size, samples, steps):
        norm = torch.linalg.matrix_norm(self.network.weight.flatten(1).double(), 2).item()
        return SimpleNamespace(upper=norm, lower=0.9 * norm)

    def preprocessing_norm(self):
        return 255.0

    def lipschitz_bound(self, size):
        return 255 * self.lipschitz_audit(size, None, 1).upper


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two images with labels, and the config of a certification of them."""
    folder = tmp_path_factory.mktemp("interrupted")
    random = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for name in "ab":
        pixels = random.integers(0, 256, (8, 12, 3))
        cv2.imwrite(str(folder / f"images/{name}.png"), pixels.astype(np.uint8))
        cv2.imwrite(str(folder / f"labels/{name}.png"), np.tile(np.uint8([0, 0, 1, 1]), (8, 3)))
    torch.manual_seed(1)
    state = nn.Conv2d(3, 2, 1).state_dict()
    state = {f"network.{name}": value for name, value in state.items()}
    torch.save(dict(state_dict=state, meta={}), folder / "linear.pth")
    dataset = dict(
        type="BaseSegDataset",
        metainfo=dict(classes=("a", "b"), palette=[[0, 0, 0], [200, 0, 0]]),
        data_root=str(folder),
        data_prefix=dict(img_path="images", seg_map_path="labels"),
        img_suffix=".png",
        serialize_data=False,
        test_mode=True,
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations"),
            dict(type="PackSegInputs"),
        ],
    )
    return dict(
        default_scope="mmseg",
        model=dict(type="LinearSegmentor"),
        load_from=str(folder / "linear.pth"),
        work_dir=str(folder / "work"),
        test_dataloader=dict(
            dataset=dataset, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False)
        ),
        test_cfg=dict(type="TestLoop"),
        randomness=dict(seed=3),
        test_evaluator=dict(type="LipschitzCertificateMetric", eps=[0.01], min_region_pixels=2),
    )


@pytest.fixture
def certify(project, monkeypatch, mmseg_scope):
    """Certify into a folder; what differs from run to run, and what is slow, is made up."""

    def picture(path, *arguments, **options):
        shown = repr([a for a in arguments if not isinstance(a, np.ndarray)]).encode()
        pixels = np.frombuffer(hashlib.sha256(shown).digest(), np.uint8).reshape(4, 8)
        with whole_file(path) as partial:
            partial.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())

    def page(path, template, **values):
        pictures = {png.name: png.read_bytes() for png in sorted(path.parent.glob("*.png"))}
        with whole_file(path) as partial:
            partial.write_text(repr([template, values["c"], values["digest"], pictures]))

    monkeypatch.setattr(html_report, "write_page", page)
    for module in (certifier, lipschitz_certifier):
        for name in ("save_certificate_figure", "save_region_figure", "save_curve_figure"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, picture)
    clock = SimpleNamespace(perf_counter=lambda: 1.0)
    monkeypatch.setattr(certification_hook, "time", clock)
    monkeypatch.setattr(certificate_file, "environment", lambda: {"command": "python"})

    def run(out, **options):
        hook = dict(type="CertificationHook", out_dir=str(out), show_dir=str(out / "show"))
        config = Config({**project, "custom_hooks": [{**hook, **options}]})
        return Runner.from_cfg(config).test()

    return run


class Killed(BaseException):
    """Ends the process at once: nothing is written behind it."""


class Writes:
    """Sees every file below a folder that is opened for writing, and may break one of them.

    Args:
        folder: Where files are watched.
        number: Number of the file that is broken; None: none.
        kind: ``'before'``: killed before it is opened; ``'inside'``: killed when half of something
            was written; ``'full'``: then there is no space left.
    """

    def __init__(self, folder, number=None, kind=None):
        self.folder, self.number, self.kind = Path(folder), number, kind
        self.names, self.dead = [], False

    def open(self, path, mode="r", *args, **kwargs):
        below = isinstance(path, (str, os.PathLike)) and Path(path).is_relative_to(self.folder)
        if not below or not set(mode) & set("wax+"):
            return REAL_OPEN(path, mode, *args, **kwargs)
        self.check()
        self.names.append(Path(path).relative_to(self.folder).as_posix())
        broken = len(self.names) - 1 == self.number
        if broken and self.kind == "before":
            self.kill()
        return Watched(REAL_OPEN(path, mode, *args, **kwargs), self, broken)

    def replace(self, *args, **kwargs):
        self.check()
        return REAL_REPLACE(*args, **kwargs)

    def check(self):
        if self.dead:
            raise Killed

    def kill(self):
        self.dead = True
        raise Killed


class Watched:
    """A file that breaks at its first write, if it is the one."""

    def __init__(self, file, writes, broken):
        self.file, self.writes, self.broken = file, writes, broken

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        self.writes.check()
        if not self.broken:
            return self.file.write(data)
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        if self.writes.kind == "inside":
            self.writes.kill()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


REAL_OPEN, REAL_REPLACE = open, os.replace


@contextmanager
def watched(folder, number=None, kind=None):
    writes = Writes(folder, number, kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtins, "open", writes.open)
        patch.setattr(io, "open", writes.open)
        patch.setattr(os, "replace", writes.replace)
        yield writes


def contents(out):
    """Everything that a run leaves, without what times and crashes leave."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.suffix == ".npz":
            with np.load(path) as maps:
                found[name] = {key: values.tobytes() for key, values in maps.items()}
        elif path.suffix in (".json", ".png", ".html"):
            found[name] = path.read_bytes()
        else:
            assert path.is_dir() or path.suffix == ".jsonl", path
    return found, CertificateStore(out).finished()


@pytest.fixture(scope="module")
def whole():
    """What an uninterrupted run leaves; filled by the first test."""
    return {}


@pytest.fixture
def uninterrupted(whole, certify, tmp_path):
    if not whole:
        with watched(tmp_path / "whole") as writes:
            whole["metrics"] = certify(tmp_path / "whole")
        whole["names"], whole["contents"] = writes.names, contents(tmp_path / "whole")
    return SimpleNamespace(**whole)


def test_a_run_writes_what_is_broken_below(uninterrupted):
    assert [name.replace(".png.partial", ".png") for name in uninterrupted.names] == WRITES
    files, entries = uninterrupted.contents
    assert set(entries) == {"a", "b"} and entries["a"]["regions"]
    assert 0 < uninterrupted.metrics["certified/stability@0.01"] <= 1
    assert {"run.json", "audit.json", "certificate.json", "report.html"} < set(files)


@pytest.mark.parametrize("kind", ["before", "inside", "full"])
@pytest.mark.parametrize("number", range(len(WRITES)), ids=WRITES)
def test_a_run_that_breaks_and_is_resumed_ends_as_if_nothing_had_happened(
    number, kind, uninterrupted, certify, tmp_path
):
    out = tmp_path / "out"
    # The page is not the certificate: it is told to be missing, and made again by resuming.
    broken = certify if (kind, WRITES[number]) == ("full", "report.html.partial") else None
    with watched(out, number, kind) as writes:
        if broken is not None:
            assert certify(out) == uninterrupted.metrics
        else:
            with pytest.raises((Killed, OSError)):
                certify(out)
    assert writes.names[number : number + 1] == uninterrupted.names[number : number + 1]
    assert certify(out, resume=True) == uninterrupted.metrics
    assert contents(out) == uninterrupted.contents


LOST = ["audit.json", "run.json", "show/a.png", "show/b_regions.png"]


@pytest.mark.parametrize(("name", "text"), [*((name, None) for name in LOST), ("audit.json", "")])
def test_what_was_lost_is_made_again(name, text, uninterrupted, certify, tmp_path):
    out = tmp_path / "out"
    certify(out)
    (out / name).unlink() if text is None else (out / name).write_text(text)
    before = (out / "images.0.jsonl").read_bytes()
    assert certify(out, resume=True) == uninterrupted.metrics
    assert contents(out) == uninterrupted.contents
    assert (out / "images.0.jsonl").read_bytes() == before, "finished work is kept"


def test_an_answer_that_changes_voids_the_certificate(certify, tmp_path, monkeypatch):
    forward = LinearSegmentor.forward

    def drift(self, *args, **kwargs):
        self.network.bias.data += 1.0
        return forward(self, *args, **kwargs)

    certify(tmp_path, limit=1)
    monkeypatch.setattr(LinearSegmentor, "forward", drift)
    with pytest.raises(CertificationError, match="void.* has changed"):
        certify(tmp_path, resume=True)
    monkeypatch.setattr(LinearSegmentor, "forward", forward)
    with pytest.raises(CertificationError, match="is void: .* has changed"):
        certify(tmp_path, resume=True)
