import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_lipcert.models.segmentors import SmoothedSegmentor

SIZE = (6, 8)
PLAIN = dict(type="SegDataPreProcessor")
WEIGHT = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [2, 2, 2]])


@pytest.fixture
def segmentor(pointwise_file, mmseg_scope):
    """Build a segmentor of three classes; the fourth output would win everywhere."""

    def build(path=None, **options):
        config = dict(
            type="OnnxSegmentor",
            path=str(path or pointwise_file(WEIGHT)),
            num_classes=3,
            output_classes=[0, 1, 2, -1],
            data_preprocessor=dict(
                type="SegDataPreProcessor", mean=[0.0] * 3, std=[255.0] * 3, bgr_to_rgb=True
            ),
        )
        return MODELS.build(config | options).eval()

    return build


def predict(model, images, ori_shape=None):
    """Labels of images (N, 3, H, W), 0..255, as the tools predict them."""
    shape = tuple(images.shape[2:])
    meta = dict(ori_shape=ori_shape or shape, img_shape=shape, pad_shape=shape)
    samples = [SegDataSample(metainfo=dict(meta)) for _ in images]
    with torch.no_grad():
        samples = model.test_step(dict(inputs=list(images), data_samples=samples))
    return torch.stack([sample.pred_sem_seg.data[0] for sample in samples])


def test_labels_are_those_of_a_direct_call(segmentor, pointwise_file):
    ort = pytest.importorskip("onnxruntime")
    path = pointwise_file(WEIGHT)
    model = segmentor(path)
    images = torch.randint(256, (2, 3, *SIZE)).float()
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": (images.flip(1) / 255).numpy()})
    np.testing.assert_array_equal(predict(model, images).numpy(), logits[:, :3].argmax(1))
    assert model.path == str(path) and not model.differentiable


@pytest.mark.parametrize(
    ("classes", "number", "expected"),
    [
        ([0, 1, 2, 1], 3, [0, 1, 2]),
        ([2, 0, -1, 1], 4, [2, 0, 1]),
        ([-1, 2, 0, -1], 3, [2, 2, 0]),  # a class without an output is never predicted
    ],
)
def test_outputs_are_mapped_to_classes(segmentor, pointwise_file, classes, number, expected):
    # Output k is largest where channel k is; the fourth is half of the third.
    weight = torch.cat([torch.eye(3), torch.tensor([[0, 0, 0.5]])])
    model = segmentor(
        pointwise_file(weight), num_classes=number, output_classes=classes, data_preprocessor=PLAIN
    )
    images = torch.tensor([[5.0, 3, 1], [1, 5, 3], [2, 1, 5]]).T[None, :, None, :]
    labels = predict(model, images)[0, 0].tolist()
    assert labels == expected


def test_a_class_without_an_output_is_never_predicted_where_windows_overlap(
    segmentor, pointwise_file
):
    path, images = pointwise_file(torch.eye(3)), torch.randint(256, (1, 3, 12, 16)).float()
    options = dict(output_classes=[0, 2, 2], data_preprocessor=PLAIN)
    whole = predict(segmentor(path, **options), images, ori_shape=(23, 31))
    slide = dict(mode="slide", crop_size=SIZE, stride=(2, 3))
    windows = predict(segmentor(path, **options, test_cfg=slide), images, ori_shape=(23, 31))
    assert set(windows.unique().tolist()) == {0, 2}
    assert (windows != whole).float().mean() < 0.01


def test_a_merged_class_wins_by_its_largest_output(segmentor, pointwise_file):
    path = pointwise_file(torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]))
    model = segmentor(path, num_classes=2, output_classes=[0, 1, 1], data_preprocessor=PLAIN)
    images = torch.tensor([[5.0, 1, 1], [3, 5, 1], [4, 1, 5], [4, 3, 3]]).T[None, :, None, :]
    assert predict(model, images)[0, 0].tolist() == [0, 1, 1, 0]


def test_unexplained_outputs_are_refused(segmentor, pointwise_file):
    with pytest.raises(
        ValueError, match=r"has 4 outputs where the config says 3: .*-1\], 4 numbers"
    ):
        segmentor(output_classes=None)
    with pytest.raises(ValueError, match=r"has 1 outputs .* give threshold=0"):
        segmentor(pointwise_file(torch.ones(1, 3)), output_classes=None)
    with pytest.raises(ValueError, match=r"output_classes has 3; classes are 0\.\.2"):
        segmentor(output_classes=[0, 1, 2, 3])
    with pytest.raises(ValueError, match="threshold=0.5 is for one output and two classes"):
        segmentor(threshold=0.5)


def test_a_single_output_has_a_threshold(segmentor, pointwise_file):
    model = segmentor(
        pointwise_file(torch.tensor([[1.0, 0, 0]])),
        num_classes=2,
        output_classes=None,
        threshold=0.5,
        data_preprocessor=PLAIN,
    )
    images = torch.tensor([0.4, 0.5, 0.6]).expand(1, 3, 1, 3)
    assert predict(model, images)[0, 0].tolist() == [0, 0, 1]


def test_a_fixed_size_is_padded_or_cut_into_windows_when_asked_for(segmentor, pointwise_file):
    path = pointwise_file(WEIGHT, size=SIZE)
    small, large = torch.rand(2, 3, 4, 7) * 255, torch.rand(2, 3, 10, 15) * 255
    free = segmentor()
    for images in (small, large):
        with pytest.raises(ValueError, match=r"takes images of 6x8, got .*pad smaller ones"):
            predict(segmentor(path), images)
    preprocessor = dict(
        type="SegDataPreProcessor", mean=[0.0] * 3, std=[255.0] * 3, bgr_to_rgb=True
    )
    padded = segmentor(path, data_preprocessor=dict(preprocessor, test_cfg=dict(size=SIZE)))
    assert (predict(padded, small) == predict(free, small)).all()
    windows = segmentor(path, test_cfg=dict(mode="slide", crop_size=SIZE, stride=(4, 5)))
    assert (predict(windows, large) == predict(free, large)).all()


def test_logits_of_lower_resolution_are_enlarged(segmentor, onnx_file):
    path = onnx_file(
        [("AveragePool", ["image"], ["logits"], dict(kernel_shape=[2, 2], strides=[2, 2]))],
        dict(image=["n", 3, "h", "w"]),
        dict(logits=["n", 3, "p", "q"]),
    )
    model = segmentor(path, output_classes=None, data_preprocessor=PLAIN)
    images = torch.zeros(1, 3, *SIZE)
    images[:, 0, :, :4] = images[:, 1, :, 4:] = 1
    expected = torch.tensor([0] * 4 + [1] * 4).expand(1, *SIZE)
    assert (predict(model, images) == expected).all()
    # At an original size that the test pipeline had resized.
    assert (predict(model, images, (12, 16)) == expected.repeat(1, 2, 2).sort().values).all()


@pytest.mark.parametrize("channel", [False, True])
def test_label_maps(segmentor, onnx_file, channel):
    nodes = [("ArgMax", ["image"], ["labels"], dict(axis=1, keepdims=int(channel)))]
    shape = ["n", 1, "h", "w"] if channel else ["n", "h", "w"]
    path = onnx_file(
        nodes, dict(image=["n", 3, "h", "w"]), dict(labels=shape), types=dict(labels=7)
    )
    options = dict(output="labels", output_classes=[0, 2, 1], data_preprocessor=PLAIN)
    images = torch.rand(2, 3, *SIZE)
    labels = predict(segmentor(path, **options), images)
    assert (labels == torch.tensor([0, 2, 1])[images.argmax(1)]).all()
    enlarged = predict(segmentor(path, **options), images, (12, 16))
    assert (enlarged == labels.repeat_interleave(2, 1).repeat_interleave(2, 2)).all()
    with pytest.raises(ValueError, match="where the config says 0..1"):
        predict(segmentor(path, output="labels", output_classes=[0, 1]), images)
    with pytest.raises(ValueError, match="a label cannot be dropped"):
        segmentor(path, output="labels")
    with pytest.raises(ValueError, match="cannot be averaged over windows"):
        segmentor(path, **options, test_cfg=dict(mode="slide", crop_size=SIZE, stride=SIZE))
    with pytest.raises(ValueError, match="output='labels'"):
        predict(segmentor(path, output_classes=None, data_preprocessor=PLAIN), images)


def test_files_that_take_no_images_are_refused(segmentor, onnx_file):
    with pytest.raises(ValueError, match=r"takes \(n, 7, 7, 3\); a segmentor takes one batch"):
        segmentor(
            onnx_file(
                [("Neg", ["image"], ["logits"], {})],
                dict(image=["n", 7, 7, 3]),
                dict(logits=["n", 7, 7, 3]),
            )
        )


def test_it_cannot_be_trained(segmentor):
    with pytest.raises(TypeError, match="cannot be trained"):
        segmentor()(torch.rand(1, 3, *SIZE), [], mode="loss")


def test_smoothing_counts_the_labels_of_the_file(segmentor):
    model = SmoothedSegmentor(segmentor(), sigma=0.5, n0=2, n=5).eval()
    image = torch.randint(256, (3, *SIZE), dtype=torch.uint8)
    sample = SegDataSample(metainfo=dict(ori_shape=SIZE, img_shape=SIZE, img_path="image.png"))
    (sample,) = model.test_step(dict(inputs=[image], data_samples=[sample]))
    assert (sample.clean_prediction.data == predict(segmentor(), image[None].float())).all()
    hits = sample.smoothing_hits.data
    assert 0 < hits.float().mean() < 5 and sample.pred_sem_seg.data.max() <= 2
