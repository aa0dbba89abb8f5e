"""Certified metrics."""

from .lipschitz_certificate_metric import LipschitzCertificateMetric

__all__ = ["LipschitzCertificateMetric"]
