import math

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_lipcert.certificates.detection import DenseDetector, DetectionRule
from mmseg_lipcert.evaluation.metrics import DetectionMetric


def sample(boxes, labels):
    """A prediction of one location per 8 pixels: boxes {(row, column): (class, sides)}."""
    outputs = torch.zeros(8, 4, 8)
    outputs[3] = 1.0  # background
    for (row, column), (kind, sides) in boxes.items():
        outputs[kind, row, column] = 2.0
        outputs[4:, row, column] = torch.log(torch.tensor(sides) / 16.0)
    result = SegDataSample(gt_sem_seg=PixelData(data=torch.from_numpy(labels)[None]))
    result.detector = DenseDetector(outputs, (32, 64), DetectionRule(8))
    return result


def test_recall_and_precision_of_each_class_over_all_images():
    labels = np.zeros((32, 64), dtype=np.int64)
    labels[0:16, 0:16] = 5
    labels[16:32, 32:48] = 5
    labels[0:16, 48:64] = 7
    right = {(1, 1): (0, (12.0, 12.0, 4.0, 4.0)), (1, 7): (1, (12.0, 12.0, 4.0, 4.0))}
    wrong_class = {(2, 5): (1, (12.0, 4.0, 4.0, 12.0))}
    evaluator = Evaluator(DetectionMetric([5, 7, 9]))
    evaluator.process([sample(right, labels), sample(right | wrong_class, labels)])
    assert evaluator.evaluate(2) == pytest.approx(
        {
            "detection/recall": 100 * 4 / 6,
            "detection/precision": 100 * 4 / 5,
            "detection/recall_5": 50,
            "detection/precision_5": 100,
            "detection/recall_7": 100,
            "detection/precision_7": 100 * 2 / 3,
            "detection/recall_9": math.nan,
            "detection/precision_9": math.nan,
        },
        nan_ok=True,
    )


def test_the_iou_decides_and_small_components_are_no_objects():
    labels = np.zeros((32, 64), dtype=np.int64)
    labels[0:16, 0:16] = 5
    labels[30, 60] = 5
    half = sample({(0, 1): (0, (12.0, 4.0, 4.0, 5.0))}, labels)
    for iou, found in ((0.5, 1), (0.7, 0)):
        counts = DetectionMetric([5, 7, 9], iou=iou).count(half.detector, labels)
        assert counts[:, 0].tolist() == [1, found, 1, found]
        assert counts[:, 1:].sum() == 0
