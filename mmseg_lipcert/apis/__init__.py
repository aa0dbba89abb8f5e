"""Certificates from Python: an image in, a certificate out."""

from .. import registration  # noqa: F401
from ..engine.certifiers import CertifiedResult, LipschitzResult, SmoothingResult
from .certified_seg_inferencer import CertifiedSegInferencer
from .explanation import Explanation

__all__ = [
    "CertifiedResult",
    "CertifiedSegInferencer",
    "Explanation",
    "LipschitzResult",
    "SmoothingResult",
]
