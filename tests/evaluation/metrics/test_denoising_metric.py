import pytest
from mmengine.evaluator import Evaluator
from mmseg.structures import SegDataSample

from mmseg_lipcert.evaluation.metrics import DenoisingMetric


def test_mean_and_spread_over_images():
    evaluator = Evaluator(DenoisingMetric())
    for ratios in ({0.25: 26.0, 0.5: 20.0}, {0.25: 30.0, 0.5: 21.0}):
        sample = SegDataSample()
        sample.psnr = ratios
        evaluator.process([sample])
    assert evaluator.evaluate(2) == pytest.approx(
        {
            "denoising/psnr@0.25": 28,
            "denoising/psnr_std@0.25": 2,
            "denoising/psnr@0.5": 20.5,
            "denoising/psnr_std@0.5": 0.5,
        }
    )
