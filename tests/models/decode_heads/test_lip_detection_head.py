import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample


@pytest.fixture
def head(mmseg_scope):
    config = dict(type="LipDetectionHead", in_channels=16, channels=16, object_classes=[2, 4])
    loss = dict(type="TemperatureCrossEntropyLoss", temperature=5.0)
    layers = dict(norm_cfg=None, act_cfg=None)
    return MODELS.build(
        dict(
            config, min_pixels=6, base_side=4.0, side_gain=2.0, layers_cfg=layers, loss_decode=loss
        )
    )


@pytest.fixture
def labels():
    """A large object of class 4 over one of class 2, specks and ignored pixels."""
    labels = np.zeros((32, 64), dtype=np.int64)
    labels[4:28, 0:40] = 2
    labels[10:18, 10:22] = 4
    labels[2, 60:63] = 4  # too small
    labels[20:24, 60:64] = 255
    return labels


def test_targets_are_classes_near_the_middle_and_sides_on_the_object(head, labels):
    classes, sides = head.targets(labels, (8, 16))  # stride 4, the first location at (2, 2)
    # The object in front: rows 10..18, columns 10..22, middle at (14, 16).
    assert classes[3, 3] == classes[3, 4] == 1
    assert sides[:, 3, 3].exp() * 4 == pytest.approx([4.0, 4.0, 8.0, 4.0])
    # The one behind: rows 4..28, columns 0..40, middle at (16, 20).
    assert classes[4, 5] == 0
    assert sides[:, 4, 5].exp() * 4 == pytest.approx([22.0, 14.0, 18.0, 10.0])
    # On it, far from its middle: a box, but no class.
    assert classes[1, 0] == 255
    assert sides[:, 1, 0].exp() * 4 == pytest.approx([2.0, 2.0, 38.0, 22.0])
    # Specks and ignored pixels have neither; all others are background.
    assert classes[0, 15] == classes[5, 15] == 255
    assert classes[0, 0] == classes[7, 12] == 2
    for place in ((0, 15), (5, 15), (0, 0), (7, 12)):
        assert sides[:, place[0], place[1]].isnan().all()


def test_an_image_that_is_no_multiple_of_the_stride_has_targets(head, labels):
    classes, sides = head.targets(labels[:29, :61], (8, 16))
    assert classes.shape == (8, 16) and sides.shape == (4, 8, 16)
    assert head.targets(np.zeros((4, 4), dtype=np.int64), (1, 1))[0].tolist() == [[2]]


def test_losses_vanish_at_the_targets_and_ignore_what_is_left_out(head, labels):
    classes, sides = head.targets(labels, (8, 16))
    outputs = torch.zeros(7, 8, 16)
    outputs[:3].scatter_(0, classes.clamp(max=2)[None], 50.0)
    outputs[3:] = sides.nan_to_num(9.0) / 2
    outputs[:3, classes == 255] = 7.0
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.from_numpy(labels)[None]))
    losses = head.loss_by_feat(outputs[None], [sample])
    assert losses["loss_class"] < 1e-6 and losses["loss_sides"] < 1e-6
    row, column = (4, 5)
    outputs[4, row, column] += 0.25
    outputs[2, row, column] = 60.0
    outputs.requires_grad_()
    worse = head.loss_by_feat(outputs[None], [sample])
    # Huber: 0.5 - 0.1 / 2, over the sides that are learned.
    assert worse["loss_sides"].item() == pytest.approx(0.45 / (~sides.isnan()).sum().item())
    assert worse["loss_class"] > 0.1
    empty = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 32, 64, dtype=torch.long)))
    nothing = head.loss_by_feat(outputs[None], [empty])
    assert nothing["loss_sides"] == 0
    sum(nothing.values()).backward()
    assert outputs.grad.isfinite().all()


def test_the_map_has_norm_one_and_half_of_the_resolution(head):
    head.eval()
    x, d = torch.randn(1, 16, 8, 12), torch.randn(1, 16, 8, 12)
    with torch.no_grad():
        moved = head((x + d,)) - head((x,))
    assert moved.shape == (1, 7, 4, 6)
    assert moved.norm() <= d.norm() * (1 + 1e-5)
