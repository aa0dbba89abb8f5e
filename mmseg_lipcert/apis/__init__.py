"""Certificates from Python: an image in, a certificate out."""

from .. import registration  # noqa: F401
from .certified_result import CertifiedResult
from .certified_seg_inferencer import CertifiedSegInferencer
from .lipschitz_result import LipschitzResult
from .smoothing_result import SmoothingResult

__all__ = ["CertifiedResult", "CertifiedSegInferencer", "LipschitzResult", "SmoothingResult"]
