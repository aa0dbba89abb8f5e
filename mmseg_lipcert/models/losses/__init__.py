"""Losses for networks with a Lipschitz constraint."""

from .cosine_similarity_loss import CosineSimilarityLoss
from .hkr_loss import HKRLoss
from .pixel_loss import PixelLoss
from .temperature_cross_entropy_loss import TemperatureCrossEntropyLoss

__all__ = ["CosineSimilarityLoss", "HKRLoss", "PixelLoss", "TemperatureCrossEntropyLoss"]
