"""An attack may reach a certificate, never beat it; a wrong certificate is beaten."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_lipcert.attacks import l2_pgd
from mmseg_lipcert.certificates import worst_case
from mmseg_lipcert.datasets.street_scenes import generate_street_scene

SIZE = (32, 64)


def scene(index):
    image, labels = generate_street_scene(0, index, SIZE)
    return torch.from_numpy(image.copy()).permute(2, 0, 1) / 255, torch.from_numpy(labels).long()


def trained_model(std):
    model = MODELS.build(
        dict(
            type="LipEncoderDecoder",
            data_preprocessor=dict(
                type="SegDataPreProcessor", mean=[127.5] * 3, std=[std] * 3, bgr_to_rgb=False
            ),
            backbone=dict(type="LipUNet", size="XS"),
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
    )
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    model.train()
    pairs = [scene(index) for index in range(4)]
    inputs = torch.stack([(255 * image - 127.5) / std for image, _ in pairs])
    samples = [
        SegDataSample(
            gt_sem_seg=PixelData(data=labels[None]), metainfo=dict(img_shape=SIZE, ori_shape=SIZE)
        )
        for _, labels in pairs
    ]
    for _ in range(25):
        losses = model.loss(inputs, samples)
        optimizer.zero_grad()
        losses["decode.loss_ce"].backward()
        optimizer.step()
    return model.eval()


def attacked_and_certified(model, std, index, eps, bound):
    image, target = scene(index)

    def logits_of(pixels):
        return model.network(((255 * pixels - 127.5) / std).unsqueeze(0))[0]

    delta = l2_pgd(logits_of, image, target, eps, steps=20)
    assert delta.norm() <= eps * (1 + 1e-6)
    with torch.no_grad():
        clean, attacked = logits_of(image), logits_of(image + delta)
    valid = target != 255
    reached = (attacked.argmax(0) == target)[valid].double().mean().item()
    before = (clean.argmax(0) == target)[valid].double().mean().item()
    guaranteed = worst_case(clean, target, "pixel_accuracy", eps, bound).item()
    return before, reached, guaranteed


@pytest.mark.parametrize("std", [255.0, 57.0])
def test_no_attack_beats_the_certificate(std, mmseg_scope):
    model = trained_model(std)
    bound = model.lipschitz_bound(SIZE)
    gains = []
    for index in range(2):
        for eps in (0.05, 0.5):
            before, reached, guaranteed = attacked_and_certified(model, std, index, eps, bound)
            assert reached >= guaranteed
            assert before > 0.3, "the network must have learned something to lose"
            gains.append((before - reached) / (before - guaranteed))
    assert max(gains) > 0.2, "the attack must be worth the name"


def test_a_forgotten_preprocessing_factor_is_caught(mmseg_scope):
    # Trap 1: the network is 1-Lipschitz, but its input is (x - mean) / std, 32 times as sensitive.
    std = 8.0
    model = trained_model(std)
    forgotten = model.lipschitz_audit(SIZE).upper
    _, reached, guaranteed = attacked_and_certified(model, std, 0, 0.1, forgotten)
    assert reached < guaranteed
    _, _, guaranteed = attacked_and_certified(model, std, 0, 0.1, model.lipschitz_bound(SIZE))
    assert reached >= guaranteed
