"""The audited bound of every size of every family: at most 1.01, at an image size of its own."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

CONFIGS = Path(__file__).parents[3] / "configs"
NAMES = sorted(path.stem for path in CONFIGS.glob("lip_*/*.py"))


def train(model, steps=3):
    """Move every weight, with the optimizer of the configs; what is learned does not matter."""
    optimizer = torch.optim.Adam(model.train().parameters(), lr=3e-3, betas=(0.9, 0.99))
    for _ in range(steps):
        image = torch.rand(2, 3, 64, 96) - 0.5
        data = PixelData(data=torch.randint(model.num_classes, (1, 64, 96)))
        samples = [SegDataSample(gt_sem_seg=data)] * 2
        optimizer.zero_grad()
        sum(
            value for name, value in model.loss(image, samples).items() if "loss" in name
        ).backward()
        optimizer.step()


@pytest.mark.slow
@pytest.mark.parametrize("trained", [False, True], ids=["untrained", "trained"])
@pytest.mark.parametrize("name", NAMES)
def test_audited_bound(name, trained, mmseg_scope):
    (path,) = CONFIGS.glob(f"*/{name}.py")
    model = MODELS.build(Config.fromfile(path).model)
    if trained:
        train(model)
    samples = torch.rand(1, 3, 64, 96) - 0.5
    audit = model.eval().lipschitz_audit((64, 96), samples, steps=5)
    assert 0.1 < audit.lower <= audit.upper <= 1.01


@pytest.mark.slow
def test_a_thousand_pairs_stay_below_the_bound(mmseg_scope):
    (path,) = CONFIGS.glob("lip_unet/lip-unet_s_30e_street-scenes-256x512.py")
    model = MODELS.build(Config.fromfile(path).model).eval()
    bound = model.lipschitz_audit((32, 48)).upper * (1 + 1e-5)
    with torch.no_grad():
        for _ in range(50):
            x = torch.randn(20, 3, 32, 48) * 10 ** (4 * torch.rand(20, 1, 1, 1) - 2)
            d = torch.randn(20, 3, 32, 48) * 10 ** (5 * torch.rand(20, 1, 1, 1) - 3)
            moved = (model.network(x + d) - model.network(x)).flatten(1).double().norm(dim=1)
            length = ((x + d) - x).flatten(1).double().norm(dim=1)
            rounding = 1e-5 * x.flatten(1).double().norm(dim=1)
            assert (moved <= bound * length + rounding).all()


@pytest.mark.slow
def test_ascended_pairs_stay_below_the_bound(mmseg_scope):
    (path,) = CONFIGS.glob("lip_unet/lip-unet_s_30e_street-scenes-256x512.py")
    model = MODELS.build(Config.fromfile(path).model).eval()
    samples = torch.randn(50, 3, 32, 48) * 10 ** (3 * torch.rand(50, 1, 1, 1) - 2)
    audit = model.lipschitz_audit((32, 48), samples, steps=10)
    assert 0.5 < audit.lower <= audit.upper
