"""Maps whose worst case is known in closed form, and a small network that has learned something."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_lipcert.datasets.street_scenes import generate_street_scene

SIZE = (32, 64)


def linear_logits(images):
    """Two classes from the mean color of each pixel."""
    gray = images.mean(1)
    return torch.stack((0.5 - gray, gray - 0.5), 1)


@pytest.fixture
def linear():
    """A linear map, images and labels, and the norm that flips each pixel alone.

    Flipping a pixel needs its three channels to move by its contrast.
    """
    target = torch.randint(0, 2, (2, 4, 5), generator=torch.Generator().manual_seed(3))
    contrast = 0.02 + 0.1 * torch.rand(target.shape, generator=torch.Generator().manual_seed(4))
    sign = torch.where(target == 1, 1.0, -1.0)
    images = (0.5 + contrast * sign).unsqueeze(1).expand(-1, 3, -1, -1).clone()
    target[:, 0, 0] = 255
    prices = (contrast * 3**0.5).masked_fill(target == 255, torch.inf)
    return SimpleNamespace(
        logits_of=linear_logits, images=images, target=target, prices=prices.flatten(1).double()
    )


@MODELS.register_module(force=True)
class PixelBackbone(nn.Module):
    """Passes the preprocessed image on, so that a 1x1 head is a linear map of each pixel."""

    def forward(self, inputs):
        return [inputs]


def build_pixel_segmentor(std=(8.0, 8.0, 8.0), num_classes=2, **test_cfg):
    """MMSegmentation's EncoderDecoder that computes ``linear_logits``, up to a factor."""
    config = dict(
        type="EncoderDecoder",
        data_preprocessor=dict(
            type="SegDataPreProcessor", mean=[127.5] * 3, std=list(std), bgr_to_rgb=True
        ),
        backbone=dict(type="PixelBackbone"),
        decode_head=dict(
            type="FCNHead",
            in_channels=3,
            channels=3,
            num_convs=0,
            concat_input=False,
            num_classes=num_classes,
            norm_cfg=None,
        ),
        train_cfg=dict(),
        test_cfg=ConfigDict(test_cfg or dict(mode="whole")),
    )
    if num_classes == 1:
        config["decode_head"].update(num_classes=2, out_channels=1, threshold=0.3)
        config["decode_head"]["loss_decode"] = dict(type="CrossEntropyLoss", use_sigmoid=True)
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(config).eval()
    weight = model.decode_head.conv_seg.weight.data
    # The preprocessor swaps channels: the std of each is undone, so that gray remains.
    weight[:] = torch.tensor(std).view(1, 3, 1, 1)
    if num_classes == 2:
        weight[0] *= -1
    weight /= 255
    model.decode_head.conv_seg.bias.data.zero_()
    return model.requires_grad_(False)


def pixel_samples(images, ori_shape=None):
    """Samples of a batch of images without any file."""
    size = tuple(images.shape[2:])
    meta = dict(img_shape=size, ori_shape=ori_shape or size)
    return [SegDataSample(metainfo=dict(meta)) for _ in images]


def build_network(std, size="XS", **head):
    """A Lipschitz network behind a normalization by std, in evaluation mode."""
    config = dict(
        type="LipEncoderDecoder",
        data_preprocessor=dict(
            type="SegDataPreProcessor", mean=[127.5] * 3, std=[std] * 3, bgr_to_rgb=True
        ),
        backbone=dict(type="LipUNet", size=size),
        decode_head=dict(
            type="LipFCNHead",
            in_channels=32,
            channels=32,
            num_convs=0,
            upsample_channels=(24, 20),
            num_classes=19,
            loss_decode=dict(type="TemperatureCrossEntropyLoss", temperature=20.0),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode="whole"),
    )
    config["decode_head"].update(head)
    with DefaultScope.overwrite_default_scope("mmseg"):
        return MODELS.build(config).eval()


def scene_batch(count, first=0):
    """Inputs (BGR, uint8) and samples of generated scenes, as a test dataloader gives them."""
    inputs, samples = [], []
    for index in range(first, first + count):
        image, labels = generate_street_scene(0, index, SIZE)
        inputs.append(torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1))
        samples.append(
            SegDataSample(
                gt_sem_seg=PixelData(data=torch.from_numpy(labels).long()[None]),
                metainfo=dict(
                    img_path=f"scene{index}.png",
                    image_name=f"scene{index}",
                    img_shape=SIZE,
                    ori_shape=SIZE,
                ),
            )
        )
    return inputs, samples


def train(model, steps=25):
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    inputs, samples = scene_batch(4)
    model.train()
    batch = model.data_preprocessor(dict(inputs=inputs, data_samples=samples), False)
    for _ in range(steps):
        losses = model.loss(batch["inputs"], samples)
        optimizer.zero_grad()
        losses["decode.loss_ce"].backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def trained():
    """A network of sensitive input (std 8: 32 times), trained on four scenes."""
    torch.manual_seed(0)
    return train(build_network(8.0))


@pytest.fixture(scope="session")
def scenes():
    """Two of the scenes that it was trained on: inputs and samples."""
    return scene_batch(2)


@pytest.fixture
def pixel_segmentor():
    """Builder of the linear segmentor, and of samples for it."""
    return SimpleNamespace(build=build_pixel_segmentor, samples=pixel_samples)


@pytest.fixture
def network():
    """Builder of Lipschitz networks, and generated scenes for them."""
    return SimpleNamespace(build=build_network, train=train, scenes=scene_batch, size=SIZE)
