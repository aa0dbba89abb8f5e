"""The same numbers as tools/test.py --certify, the same refusals, and no stale audit."""

import json
import os

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmseg_lipcert.apis import CertifiedSegInferencer, LipschitzResult, SmoothingResult
from mmseg_lipcert.engine import CertificationError
from mmseg_lipcert.lipschitz import AuditError

DRAWS = dict(sigma=0.02, n0=3, n=60)
FLAGS = [f"--{name}={value}" for name, value in DRAWS.items()]


@pytest.fixture(scope="module")
def certify(project):
    return CertifiedSegInferencer(project.config, project.checkpoint, device="cpu")


@pytest.fixture
def scene(scenes):
    return next(iter(scenes.values()))


def same_as_the_tool(result, tool):
    """Whether every stored array and figure is the tool's, bit for bit."""
    maps, entry = tool.maps[result.name], dict(tool.entries[result.name])
    assert set(result.maps) == set(maps)
    for name, values in maps.items():
        assert result.maps[name].dtype == values.dtype
        assert np.array_equal(result.maps[name], values), name
    for time in ("seconds_forward", "seconds_certificate", "data_sha256", "run", "digest"):
        entry.pop(time)
    assert json.loads(json.dumps(result.entry)) == entry
    assert np.array_equal(result.labels, maps["prediction"])
    assert (result.radius >= maps["radius"]).all()


def test_lipschitz_is_what_the_tool_stores(certify, project, scenes, by_tool):
    tool = by_tool(project.config, project.checkpoint, "--eps", 0.1, 0.5)
    assert certify.method == "lipschitz" and set(tool.maps) == set(scenes)
    for name, scene in scenes.items():
        results = [
            certify(scene.path, eps=(0.1, 0.5), target=scene.label),
            certify(scene.pixels, eps=(0.1, 0.5), target=cv2.imread(scene.label, -1), name=name),
        ]
        for result in results:
            assert isinstance(result, LipschitzResult) and result.name == name
            same_as_the_tool(result, tool)


def test_free_classifiers_and_strided_heads_are_what_the_tool_stores(variant, scene, by_tool):
    for number, head in enumerate(
        [dict(free_classifier=True), dict(upsample_channels=[24])]  # the latter: stride 2
    ):
        config, checkpoint = variant(**{f"model.decode_head.{k}": v for k, v in head.items()})
        tool = by_tool(config, checkpoint, "--eps", 0.1, "--limit", 1, out=f"out{number}")
        result = CertifiedSegInferencer(config, checkpoint, device="cpu")(
            scene.path, eps=0.1, target=scene.label
        )
        same_as_the_tool(result, tool)
        accuracy = result.entry["correct"] - result.entry["correct_lost"][0]
        assert result.worst_case("pixel_accuracy", 0.1) == accuracy / result.entry["valid"]
        assert result.sample.logit_stride == (2 if number else 1)


def test_smoothing_is_what_the_tool_stores(plain, scenes, by_tool):
    settings = dict(DRAWS, sigma=0.3, tau=(0.6, 0.75), alpha=0.01, hierarchy="cityscapes", seed=3)
    flags = [
        "--sigma",
        0.3,
        "--tau",
        0.6,
        0.75,
        "--alpha",
        0.01,
        "--hierarchy",
        "cityscapes",
        "--seed",
        3,
    ]
    tool = by_tool(*plain, *FLAGS, *flags, "--limit", 2)
    certify = CertifiedSegInferencer(*plain, device="cpu", **settings)
    assert certify.method == "smoothing" and len(tool.maps) == 2
    for name in tool.maps:
        scene = scenes[name]
        result = certify(scene.path, target=scene.label)
        assert isinstance(result, SmoothingResult) and result.bound is None
        same_as_the_tool(result, tool)
        same_as_the_tool(certify(scene.pixels, target=scene.label, name=name), tool)
        other = certify(scene.pixels, target=scene.label)
        assert not np.array_equal(other.maps["hits"], result.maps["hits"]), "noise has a name"


def test_denoising_is_what_the_tool_stores(plain, scene, by_tool, tmp_path):
    denoiser = dict(type="NonLocalMeansDenoiser")
    (tmp_path / "denoiser.py").write_text(f"denoiser = {denoiser!r}")
    flags = ["denoise", *FLAGS, "--limit", 1, "--denoiser", tmp_path / "denoiser.py"]
    tool = by_tool(*plain, *flags, "--correction", "metric")
    certify = CertifiedSegInferencer(
        *plain, device="cpu", denoiser=denoiser, correction="metric", **DRAWS
    )
    assert certify.method == "denoise"
    same_as_the_tool(certify(scene.path, target=scene.label), tool)


def test_the_method_is_that_of_the_config_or_the_one_asked_for(project, plain):
    config = Config.fromfile(project.config)
    before = config.model.copy()
    lipschitz = CertifiedSegInferencer(config, project.checkpoint, "smoothing", "cpu", **DRAWS)
    assert lipschitz.method == "smoothing"
    assert config.model == before, "the config is the caller's"
    wrapped = Config.fromfile(plain[0])
    wrapped.model = dict(type="SmoothedSegmentor", module=wrapped.model, sigma=0.5)
    wrapped.test_evaluator = dict(type="SmoothingCertificateMetric", alpha=0.02)
    certify = CertifiedSegInferencer(wrapped, plain[1], device="cpu", n=50)
    assert (certify.method, certify.model.sigma, certify.model.n) == ("smoothing", 0.5, 50)


def test_what_is_shipped_has_names():
    certify = CertifiedSegInferencer(
        "mmseg_lipcert::lip_shift_unet/lip-shift-unet_m_30e_street-scenes-256x512.py",
        "mmseg_lipcert::lip-shift-unet_m_street-scenes.pth",
    )
    assert certify.method == "lipschitz"


def test_several_images_of_any_size(certify, scenes):
    first, second, _ = scenes.values()
    images = [first.path, second.pixels[:20, :41]]
    targets = [first.label, np.zeros((20, 41), np.uint8)]
    results = certify(images, eps=0.1, target=targets)
    assert [result.labels.shape for result in results] == [(32, 64), (20, 41)]
    for image, target, result in zip(images, targets, results, strict=True):
        assert certify(image, eps=0.1, target=target).entry == result.entry
    assert certify([]) == []
    with pytest.raises(ValueError, match="target must be a list of 2, one per image, got 1"):
        certify(images, target=targets[:1])


def test_a_file_has_the_name_that_it_has_in_the_dataset(plain, scene, monkeypatch, tmp_path):
    certify = CertifiedSegInferencer(*plain, device="cpu", **DRAWS)
    expected = certify(scene.path)
    monkeypatch.chdir(scene.path.parent)
    relative = certify(scene.path.name)
    assert relative.name == expected.name
    assert np.array_equal(relative.maps["hits"], expected.maps["hits"])
    cv2.imwrite(str(tmp_path / "street.png"), scene.pixels)
    assert certify(tmp_path / "street.png").name == f"{tmp_path}/street".lstrip("/")


def test_nothing_is_stale_when_weights_change(project, scene, monkeypatch):
    certify = CertifiedSegInferencer(project.config, project.checkpoint, device="cpu")
    before = certify(scene.path, eps=0.1, target=scene.label)
    again = certify(scene.path, eps=0.1, target=scene.label)
    assert again.bound == before.bound and again.entry == before.entry
    for parameter in certify.model.parameters():
        parameter.data.add_(torch.randn_like(parameter))
    changed = certify(scene.path, eps=0.1, target=scene.label)
    fresh = CertifiedSegInferencer(project.config, project.checkpoint, device="cpu")
    fresh.model.load_state_dict(certify.model.state_dict())
    expected = fresh(scene.path, eps=0.1, target=scene.label)
    assert changed.bound == expected.bound
    assert changed.entry == expected.entry != before.entry


def test_a_network_that_changes_out_of_sight_certifies_nothing(project, scene):
    certify = CertifiedSegInferencer(project.config, project.checkpoint, device="cpu")
    certify(scene.path)
    # The folded copy computes; it is no part of the weights that are looked at before every image.
    next(certify.model.network.parameters()).data.mul_(3)
    for images in (scene.path, [scene.path, scene.pixels]):
        with pytest.raises(CertificationError, match="is void: .* has changed by"):
            certify(images)


def test_a_segmentor_that_changes_later_certifies_nothing(plain, scene):
    certify = CertifiedSegInferencer(*plain, "smoothing", device="cpu", **DRAWS)
    drift, classifier = [], certify.model.module.decode_head.conv_seg
    classifier.register_forward_hook(lambda module, args, logits: logits.roll(len(drift), 1))
    certify(scene.pixels, name="first")
    certify(scene.pixels, name="second")
    drift.append(1)
    with pytest.raises(CertificationError, match="is void: .* keeps a state between calls"):
        certify(scene.pixels, name="third")
    # Other weights, other draws: with them the map is fixed.
    classifier.weight.data.mul_(2)
    certify(scene.pixels, name="first")
    certify(scene.pixels, name="second")


def test_another_bound_is_noticed(variant, scene):
    # A plain convolution has any norm: the bound must follow its weights.
    layers = dict(conv_cfg=None, act_cfg=dict(type="ReLU"))
    config, checkpoint = variant(**{"model.backbone.layers_cfg": layers})
    certify = CertifiedSegInferencer(config, checkpoint, device="cpu")
    before = certify(scene.path, eps=0.1).bound
    convolution = next(m for m in certify.model.backbone.modules() if type(m) is torch.nn.Conv2d)
    convolution.weight.data.mul_(3)
    assert certify(scene.path, eps=0.1).bound > 1.5 * before


def test_one_audit_per_size(certify, scene, monkeypatch):
    import mmseg_lipcert.models.segmentors.lip_encoder_decoder as module

    calls, real = [], module.audit
    monkeypatch.setattr(module, "audit", lambda *args: calls.append(args[1]) or real(*args))
    certify.model.train().eval()
    for size in ((16, 16), (16, 16), (16, 32), (16, 16)):
        certify(scene.pixels[: size[0], : size[1]])
    assert calls == [(1, 3, 16, 16), (1, 3, 16, 32)]


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (3, TypeError, "an image must be a file, or an array .*BGR, got int"),
        (torch.zeros(3, 8, 8), TypeError, "got Tensor"),
        (np.zeros((8, 8, 3)), ValueError, "got float64"),
        (np.zeros((8, 8), np.uint8), ValueError, r"got shape \(8, 8\)"),
        (np.zeros((8, 8, 4), np.uint8), ValueError, r"got shape \(8, 8, 4\)"),
        (np.zeros((0, 8, 3), np.uint8), ValueError, r"got shape \(0, 8, 3\)"),
        ("absent.png", FileNotFoundError, "absent.png"),
    ],
)
def test_what_is_no_image_is_refused(certify, image, error, message):
    with pytest.raises(error, match=message):
        certify(image)


def test_damaged_files_are_named(certify, scene, tmp_path):
    (tmp_path / "damaged.png").write_bytes(b"not a png")
    with pytest.raises(CertificationError, match="damaged.png"):
        certify(tmp_path / "damaged.png")
    with pytest.raises(CertificationError, match="damaged.png"):
        certify(scene.path, target=tmp_path / "damaged.png")


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (np.zeros((8, 8), np.uint8), ValueError, r"shape \(8, 8\), its image needs \(32, 64\)"),
        (np.full((32, 64), 77), ValueError, r"label 77: labels must be in \[0, 19\)"),
        (np.zeros((32, 64)), ValueError, "target must hold integers, got float64"),
        ([[0]], TypeError, "target must be a label file or a map"),
        (np.zeros((32, 64, 3), np.uint8), ValueError, r"map \(H, W\) .* got shape \(32, 64, 3\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(certify, scene, target, error, message):
    with pytest.raises(error, match=message):
        certify(scene.path, target=target)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_labels_that_change_later_change_no_result(certify, kind):
    image, labels = np.full((32, 64, 3), 90, np.uint8), kind(np.zeros((32, 64), np.int64))
    result = certify(image, eps=0.1, target=labels)
    labels[:] = 1
    result.target[:] = 1
    assert not result.target.any()
    fresh = certify(image, eps=0.1, target=np.zeros((32, 64), np.int64)[::-1])
    assert result.worst_case("pixel_accuracy") == fresh.worst_case("pixel_accuracy")


def test_dataset_and_metric_ignore_one_label(project):
    config = Config.fromfile(project.config)
    config.test_evaluator = dict(type="IoUMetric", ignore_index=0)
    with pytest.raises(CertificationError, match="ignores label 255, the metric label 0"):
        CertifiedSegInferencer(config, project.checkpoint, device="cpu")


def test_an_array_is_not_called_by_the_name_of_a_file(certify):
    with pytest.raises(ValueError, match="the given array: target has shape"):
        certify(np.zeros((32, 64, 3), np.uint8), target=np.zeros((16, 16), np.uint8))


@pytest.mark.parametrize("eps", [-0.1, float("nan"), (0.1, float("inf")), ()])
def test_wrong_norms_are_refused(certify, scene, eps):
    with pytest.raises(ValueError, match="eps must"):
        certify(scene.path, eps=eps)


@pytest.mark.parametrize(
    "transform", [dict(type="Resize", scale=(32, 16), keep_ratio=True), dict(type="CLAHE")]
)
def test_a_pipeline_that_changes_the_image_is_refused(project, scene, transform):
    config = Config.fromfile(project.config)
    config.test_dataloader.dataset.pipeline.insert(1, transform)
    certify = CertifiedSegInferencer(config, project.checkpoint, device="cpu")
    with pytest.raises(CertificationError, match=f"{transform['type']}.*changes the image"):
        certify(scene.path)


def test_transforms_that_round_must_come_before_the_noise(plain):
    config = Config.fromfile(plain[0])
    config.test_dataloader.dataset.pipeline.insert(1, dict(type="CLAHE"))
    with pytest.raises(CertificationError, match="CLAHE is not known to be exact"):
        CertifiedSegInferencer(config, plain[1], device="cpu", **DRAWS)


def test_a_pipeline_without_a_loader_is_refused(project):
    config = Config.fromfile(project.config)
    config.test_dataloader.dataset.pipeline.pop(0)
    with pytest.raises(CertificationError, match="must begin with LoadImageFromFile"):
        CertifiedSegInferencer(config, project.checkpoint, device="cpu")


def test_a_partial_checkpoint_is_refused(project, tmp_path):
    state = dict(project.model.state_dict())
    key = next(iter(state))
    del state[key]
    torch.save(dict(state_dict=state, meta={}), tmp_path / "partial.pth")
    with pytest.raises(CertificationError, match=f"1 missing: {key}"):
        CertifiedSegInferencer(project.config, tmp_path / "partial.pth", device="cpu")


def test_a_plain_model_has_no_lipschitz_certificate(plain):
    with pytest.raises(CertificationError, match="EncoderDecoder has no .*method='smoothing'"):
        CertifiedSegInferencer(*plain, "lipschitz", "cpu")


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("exact", {}, "method must be one of lipschitz, smoothing, denoise, or None, got 'exact'"),
        (None, dict(sigma=0.1), "sigma cannot go with method='lipschitz'"),
        ("smoothing", dict(denoiser="x"), "denoiser cannot go with method='smoothing'"),
        ("denoise", {}, "needs a denoiser: give denoiser=FOLDER"),
        ("smoothing", dict(sigma=-1), "sigma must be a positive number, got -1"),
        ("smoothing", dict(tau=1.5), r"tau must be in \[0.5, 1\), got 1.5"),
        ("smoothing", dict(alpha=0.0), r"alpha must be in \(0, 1\), got 0"),
    ],
)
def test_wrong_settings_are_refused(project, method, settings, message):
    with pytest.raises(ValueError, match=message):
        CertifiedSegInferencer(project.config, project.checkpoint, method, "cpu", **settings)


def test_too_few_draws_are_refused(plain, scene):
    certify = CertifiedSegInferencer(*plain, device="cpu", n=10)
    with pytest.raises(CertificationError, match="n=10 draws can certify none of 2048 pixels"):
        certify(scene.path)
    with pytest.raises(ValueError, match=r"eps=0.1 cannot be chosen: sigma=0.25 .* at 0.168622"):
        certify(scene.path, eps=0.1)


def test_reduced_precision_is_refused(certify, project, scene):
    with torch.autocast("cpu"), pytest.raises(CertificationError, match="full precision"):
        certify(scene.path)
    config = Config.fromfile(project.config)
    config.test_cfg = dict(type="TestLoop", fp16=True)
    with pytest.raises(CertificationError, match="full precision"):
        CertifiedSegInferencer(config, project.checkpoint, device="cpu")


def test_tf32_is_switched_off(certify, scene, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    certify(scene.path)
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("method", ["lipschitz", "smoothing"])
def test_training_mode_is_refused(project, scene, method):
    certify = CertifiedSegInferencer(project.config, project.checkpoint, method, "cpu")
    certify.model.train()
    with pytest.raises(CertificationError, match=r"training mode.*model.eval\(\)"):
        certify(scene.path)


def test_weights_that_are_no_numbers_are_refused(project, scene, tmp_path):
    certify = CertifiedSegInferencer(project.config, project.checkpoint, device="cpu")
    name, weight = next(iter(certify.model.named_parameters()))
    weight.data[0] = float("nan")
    with pytest.raises(CertificationError, match=f"weights contain NaN or infinite values: {name}"):
        certify(scene.path)
    torch.save(dict(state_dict=certify.model.state_dict(), meta={}), tmp_path / "nan.pth")
    with pytest.raises(CertificationError, match=f"weights contain NaN or infinite values: {name}"):
        CertifiedSegInferencer(project.config, tmp_path / "nan.pth", device="cpu")
    weight.data[0] = float("inf")
    with pytest.raises((CertificationError, AuditError)):
        certify(scene.path)


def test_a_smoothed_segmentor_without_a_prediction_is_refused(plain, scene):
    certify = CertifiedSegInferencer(*plain, device="cpu", **DRAWS)
    certify.model.module.decode_head.conv_seg.bias.data.fill_(float("inf"))
    certify.model.module.decode_head.conv_seg.weight.data.fill_(-float("inf"))
    with pytest.raises(CertificationError, match="weights contain NaN or infinite values"):
        certify(scene.path)


def test_logits_that_are_not_finite_are_refused(certify, scene, monkeypatch):
    certify(scene.pixels)  # audits the network that is whole
    network = type(certify.model).network.fget
    broken = property(lambda model: lambda inputs: network(model)(inputs) * float("inf"))
    monkeypatch.setattr(type(certify.model), "network", broken)
    with pytest.raises(CertificationError, match="array-.*logits contain NaN or infinite values"):
        certify(scene.pixels)


def test_a_name_that_is_not_utf8_is_refused(certify, scene, tmp_path):
    path = tmp_path / os.fsdecode(b"stra\xdfe.png")
    cv2.imwrite(str(tmp_path / "street.png"), scene.pixels)
    os.rename(tmp_path / "street.png", path)
    with pytest.raises(CertificationError, match=r"stra.xdfe.png' is not UTF-8.*: rename it"):
        certify(path)
