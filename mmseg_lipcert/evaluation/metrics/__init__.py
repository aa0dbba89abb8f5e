"""Certified metrics, and those of denoisers and detectors."""

from .certificate_metric import CertificateMetric
from .denoising_metric import DenoisingMetric
from .detection_metric import DetectionMetric
from .lipschitz_certificate_metric import LipschitzCertificateMetric, is_resized
from .smoothing_certificate_metric import SmoothingCertificateMetric

__all__ = [
    "CertificateMetric",
    "DenoisingMetric",
    "DetectionMetric",
    "LipschitzCertificateMetric",
    "SmoothingCertificateMetric",
    "is_resized",
]
