"""Segmentors whose behavior under noise is known."""

import torch
from mmengine.structures import PixelData
from mmseg.models import SegDataPreProcessor
from mmseg.structures import SegDataSample
from torch import nn


class Stump(nn.Module):
    """Predicts 1 where the first channel of the image is above 127.5; keeps what it was shown."""

    num_classes = 2

    def __init__(self, **preprocessor):
        super().__init__()
        self.data_preprocessor = SegDataPreProcessor(**preprocessor)
        self.parameter = nn.Parameter(torch.zeros(1))
        self.shown = []
        self.metas = []

    def forward(self, inputs, data_samples, mode):
        assert mode == "predict"
        self.shown += list(inputs.clone())
        self.metas += [dict(sample.metainfo) for sample in data_samples]
        for image, sample in zip(inputs, data_samples, strict=True):
            top, left = sample.ori_shape
            labels = nn.functional.interpolate(image[None, :1], (top, left))[0] > 127.5
            sample.set_data(dict(pred_sem_seg=PixelData(data=labels.long())))
        return data_samples

    test_step = forward


def image_of(values, size=(30, 40)):
    """A gray image (3, H, W), uint8: one value, or one per column."""
    columns = torch.as_tensor(values, dtype=torch.uint8).expand(size[1])
    return columns.expand(3, *size).contiguous()


def data_of(*images, names=None):
    """Images as a dataloader gives them."""
    samples = []
    for number, image in enumerate(images):
        name = names[number] if names else f"{number}"
        size = tuple(image.shape[1:])
        meta = dict(img_path=f"/data/{name}.png", image_name=name, ori_shape=size, img_shape=size)
        samples.append(SegDataSample(metainfo=meta))
    return dict(inputs=list(images), data_samples=samples)
