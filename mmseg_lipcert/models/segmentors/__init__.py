"""Segmentors whose predictions carry what a certificate needs."""

from .base_classifier import BaseClassifier
from .exported_segmentor import ExportedSegmentor
from .foreign_segmentor import ForeignSegmentor
from .lip_detector import LipDetector
from .lip_encoder_decoder import LipEncoderDecoder
from .lip_ensemble import LipEnsemble
from .native_logits import MeanLogits, NativeLogits
from .onnx_segmentor import OnnxSegmentor
from .preprocessing import preprocessor_norm, preprocessor_smallest_gain
from .repeated_draws import DependentDrawsError
from .smoothed_segmentor import SmoothedSegmentor
from .test_pipeline import split_test_pipeline

__all__ = [
    "BaseClassifier",
    "DependentDrawsError",
    "ExportedSegmentor",
    "ForeignSegmentor",
    "LipDetector",
    "LipEncoderDecoder",
    "LipEnsemble",
    "MeanLogits",
    "NativeLogits",
    "OnnxSegmentor",
    "SmoothedSegmentor",
    "preprocessor_norm",
    "preprocessor_smallest_gain",
    "split_test_pipeline",
]
