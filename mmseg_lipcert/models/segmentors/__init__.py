"""Segmentors whose predictions carry what a certificate needs."""

from .lip_encoder_decoder import LipEncoderDecoder
from .native_logits import NativeLogits

__all__ = ["LipEncoderDecoder", "NativeLogits"]
