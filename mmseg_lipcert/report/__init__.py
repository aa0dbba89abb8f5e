"""certificate.json and its tables."""

from .certificate import build_certificate
from .certificate_file import CERTIFICATE_SCHEMA, certificate_json, environment
from .tables import class_table, overview_table

__all__ = [
    "CERTIFICATE_SCHEMA",
    "build_certificate",
    "certificate_json",
    "class_table",
    "environment",
    "overview_table",
]
