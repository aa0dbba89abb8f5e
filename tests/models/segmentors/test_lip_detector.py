import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_lipcert.attacks import Ball, SegmentorLogits, pgd
from mmseg_lipcert.attacks.objectives import DetectionObjective

SIZE = (32, 48)


def detector_config(**test_cfg):
    return dict(
        type="LipDetector",
        data_preprocessor=dict(type="SegDataPreProcessor", mean=[127.5] * 3, std=[255.0] * 3),
        backbone=dict(type="LipShiftUNet", size="S"),
        decode_head=dict(
            type="LipDetectionHead",
            in_channels=64,
            channels=32,
            object_classes=[3],
            base_side=8.0,
            side_gain=2.0,
            layers_cfg=dict(norm_cfg=None, act_cfg=None),
            loss_decode=dict(type="TemperatureCrossEntropyLoss", temperature=10.0),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode="whole", **test_cfg),
    )


def scene(seed):
    """A bright rectangle on noise, as pixels (3, H, W) from 0 to 255, with its labels."""
    rng = np.random.default_rng(seed)
    image, labels = rng.integers(0, 90, (3, *SIZE)), np.zeros(SIZE, dtype=np.int64)
    top, left = rng.integers(2, 12), rng.integers(2, 22)
    where = np.s_[top : top + 16, left : left + 20]
    image[(slice(None), *where)] += 150
    labels[where] = 3
    meta = dict(img_shape=SIZE, ori_shape=SIZE)
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.from_numpy(labels)[None]), metainfo=meta)
    box = np.array([left, top, left + 20, top + 16], dtype=float)
    return torch.from_numpy(image.astype(np.uint8)), sample, box


@pytest.fixture(scope="module")
def trained():
    """A detector that has learned bright rectangles."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(detector_config())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model.train()
    for step in range(40):
        images, samples, _ = zip(*(scene(100 + 4 * step + n) for n in range(4)), strict=True)
        losses = model.loss(torch.stack(images) / 255 - 0.5, list(samples))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


def found(model, image, sample, box):
    prediction = SegmentorLogits(model, [sample]).predict(image[None].float() / 255)[0]
    return prediction.detector, prediction.detector.detections.fits([0], box[None], 0.5).any()


def test_it_finds_what_it_has_learned_and_no_attack_beats_its_certificate(trained):
    bound = trained.lipschitz_bound(SIZE)
    assert 0.9 < bound <= 1.01
    radii, gaps = [], []
    for seed in range(2):
        image, sample, box = scene(seed)
        detector, there = found(trained, image, sample, box)
        assert there
        radius = detector.object_radius(0, box, bound)
        radii.append(radius)
        objective = DetectionObjective(trained.rule, SIZE, 0, box)
        predict = SegmentorLogits(trained, [sample] * 3).predict
        norms = torch.tensor([1 - 1e-6, 2.0, 12.0]) * max(radius, 0.01)
        attacked = pgd(
            lambda x, predict=predict: torch.stack([p.outputs.data for p in predict(x)]),
            image[None].expand(3, -1, -1, -1).float() / 255,
            objective,
            Ball(norms.double()),
            steps=10,
        )
        assert attacked.score[0] == 1 or radius == 0, "within the radius it is found"
        gaps.append(attacked.score[-1].item())
        for n in range(3):
            moved = 255 * (image / 255 + attacked.delta[n])
            assert found(trained, moved, sample, box)[1] == (attacked.score[n] == 1)
    assert max(radii) > 0.05
    assert min(gaps) == 0, "the attack is strong enough to matter"


def test_objective_is_zero_where_no_box_fits(trained):
    image, sample, box = scene(0)
    outputs = trained.network(image[None].float() / 255 - 0.5)
    objective = DetectionObjective(trained.rule, SIZE, 0, box)
    assert objective.loss(outputs, 1.0) > 0 and objective.score(outputs) == 1
    nothing = outputs.clone()
    nothing[:, 0] -= 100
    assert objective.loss(nothing, 1.0) == 0 and objective.score(nothing) == 0
    elsewhere = outputs.clone()
    elsewhere[:, -4:] -= 9
    assert objective.loss(elsewhere, 1.0) == 0 and objective.score(elsewhere) == 0


def test_rule_and_boxes_follow_the_config(mmseg_scope):
    model = MODELS.build(detector_config(min_score=0.1, nms_iou=0.6)).eval()
    assert (model.rule.stride, model.rule.base_side, model.rule.side_gain) == (8, 8.0, 2.0)
    assert (model.rule.min_score, model.rule.nms_iou) == (0.1, 0.6)
    [sample] = model.predict(torch.zeros(1, 3, 33, 50))
    assert sample.outputs.data.shape == (6, 5, 7)
    assert sample.input_size == sample.detector.size == (33, 50)


def test_mirror_images_are_refused(mmseg_scope):
    with pytest.raises(ValueError, match="mirror"):
        MODELS.build(detector_config(mirror=True))
