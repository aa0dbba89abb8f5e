"""Segmentors whose predictions carry what a certificate needs."""

from .lip_encoder_decoder import LipEncoderDecoder
from .native_logits import NativeLogits
from .preprocessing import preprocessor_norm, preprocessor_smallest_gain

__all__ = [
    "LipEncoderDecoder",
    "NativeLogits",
    "preprocessor_norm",
    "preprocessor_smallest_gain",
]
