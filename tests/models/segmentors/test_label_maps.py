"""Labels straight from the logits are those of MMSegmentation's own way."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmseg.models import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_lipcert.models.segmentors.label_maps import predict_labels


class Given(EncoderDecoder):
    """Has logits instead of a network."""

    def __init__(self, logits, align_corners=False):
        nn.Module.__init__(self)
        self.logits = logits
        self.align_corners = align_corners
        # Not a part, so that it may be anything.
        vars(self)["decode_head"] = SimpleNamespace(threshold=0.4)

    def inference(self, inputs, batch_img_metas):
        return self.logits


def samples_of(count, size, padding=(0, 0, 0, 0)):
    meta = dict(img_path="a.png", ori_shape=size, padding_size=list(padding))
    return [SegDataSample(metainfo=meta) for _ in range(count)]


def usual(segmentor, *arguments):
    predicted = segmentor(None, samples_of(*arguments), mode="predict")
    return torch.stack([sample.pred_sem_seg.data[0] for sample in predicted]).long()


@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 3),
    classes=st.sampled_from([1, 2, 5, 19]),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
    resized=st.booleans(),
    align_corners=st.booleans(),
    channels_last=st.booleans(),
    kind=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_labels_are_the_usual_ones_also_where_classes_tie(
    seed, count, classes, padding, resized, align_corners, channels_last, kind
):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(-2, 3, (count, classes, 11, 13), generator=generator).to(kind)
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    left, right, top, bottom = padding
    size = (17, 16) if resized else (11 - top - bottom, 13 - left - right)
    segmentor = Given(logits, align_corners)
    found = predict_labels(segmentor, None, samples_of(count, size, padding))
    assert found.dtype == torch.int64 and found.shape == (count, *size)
    assert torch.equal(found, usual(segmentor, count, size, padding))


class Opposite(Given):
    """Predicts in its own way."""

    def postprocess_result(self, seg_logits, data_samples=None):
        return super().postprocess_result(-seg_logits, data_samples)


def test_segmentors_with_steps_of_their_own_take_them(monkeypatch):
    logits = torch.randn(2, 3, 5, 7)
    found = predict_labels(Opposite(logits), None, samples_of(2, (5, 7)))
    assert torch.equal(found, logits.argmin(1))
    hooked = Given(logits)
    hooked.register_forward_hook(lambda *_: usual_samples(-logits))
    assert torch.equal(predict_labels(hooked, None, samples_of(2, (5, 7))), logits.argmin(1))
    changed = Given(logits)
    changed.predict = lambda inputs, samples: usual_samples(-logits)
    assert torch.equal(predict_labels(changed, None, samples_of(2, (5, 7))), logits.argmin(1))
    monkeypatch.setattr(EncoderDecoder, "predict", lambda *_: usual_samples(-logits))
    assert torch.equal(predict_labels(Given(logits), None, samples_of(2, (5, 7))), logits.argmin(1))


def usual_samples(logits):
    return Given(logits).postprocess_result(logits, samples_of(len(logits), logits.shape[2:]))


@pytest.mark.parametrize("kind", [Given, Opposite])
def test_logits_that_are_no_numbers_are_refused(kind):
    logits = torch.zeros(1, 3, 4, 5)
    logits[0, 2, 3, 4] = torch.nan
    with pytest.raises(ValueError, match=r"a.png: the logits of the segmentor contain NaN"):
        predict_labels(kind(logits), None, samples_of(1, (4, 5)))
