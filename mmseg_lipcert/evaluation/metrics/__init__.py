"""Certified metrics, and one of denoisers."""

from .certificate_metric import CertificateMetric
from .denoising_metric import DenoisingMetric
from .lipschitz_certificate_metric import LipschitzCertificateMetric, is_resized
from .smoothing_certificate_metric import SmoothingCertificateMetric

__all__ = [
    "CertificateMetric",
    "DenoisingMetric",
    "LipschitzCertificateMetric",
    "SmoothingCertificateMetric",
    "is_resized",
]
