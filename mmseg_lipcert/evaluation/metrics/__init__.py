"""Certified metrics."""

from .certificate_metric import CertificateMetric
from .lipschitz_certificate_metric import LipschitzCertificateMetric, is_resized
from .smoothing_certificate_metric import SmoothingCertificateMetric

__all__ = [
    "CertificateMetric",
    "LipschitzCertificateMetric",
    "SmoothingCertificateMetric",
    "is_resized",
]
