"""Losses for networks with a Lipschitz constraint."""

from mmseg_lipcert.models.losses.cosine_similarity_loss import CosineSimilarityLoss
from mmseg_lipcert.models.losses.hkr_loss import HKRLoss
from mmseg_lipcert.models.losses.pixel_loss import PixelLoss
from mmseg_lipcert.models.losses.temperature_cross_entropy_loss import TemperatureCrossEntropyLoss

__all__ = ["CosineSimilarityLoss", "HKRLoss", "PixelLoss", "TemperatureCrossEntropyLoss"]
