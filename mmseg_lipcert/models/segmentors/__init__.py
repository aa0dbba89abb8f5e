"""Segmentors whose predictions carry what a certificate needs."""

from .base_classifier import BaseClassifier
from .lip_encoder_decoder import LipEncoderDecoder
from .native_logits import NativeLogits
from .preprocessing import preprocessor_norm, preprocessor_smallest_gain
from .repeated_draws import DependentDrawsError
from .smoothed_segmentor import SmoothedSegmentor
from .test_pipeline import split_test_pipeline

__all__ = [
    "BaseClassifier",
    "DependentDrawsError",
    "LipEncoderDecoder",
    "NativeLogits",
    "SmoothedSegmentor",
    "preprocessor_norm",
    "preprocessor_smallest_gain",
    "split_test_pipeline",
]
