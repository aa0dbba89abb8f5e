"""One certifier per kind of certificate: model and settings in, certified results out."""

from .certified_result import CertifiedResult
from .certifier import Certifier
from .lipschitz_certifier import LipschitzCertifier
from .lipschitz_result import LipschitzResult
from .smoothing_certifier import SmoothingCertifier
from .smoothing_result import SmoothingResult

#: Certifiers by method.
CERTIFIERS: dict[str, type[Certifier]] = {
    "lipschitz": LipschitzCertifier,
    "smoothing": SmoothingCertifier,
    "denoise": SmoothingCertifier,
}

__all__ = [
    "CERTIFIERS",
    "CertifiedResult",
    "Certifier",
    "LipschitzCertifier",
    "LipschitzResult",
    "SmoothingCertifier",
    "SmoothingResult",
]
