"""certificate.json, its tables and its page."""

from .certificate_file import CERTIFICATE_SCHEMA, certificate_json, environment
from .comparison import Comparison
from .html_report import write_html_report
from .lipschitz_certificate import build_lipschitz_certificate
from .smoothing_certificate import build_smoothing_certificate
from .stored_run import joint_digest
from .tables import class_table, object_table, overview_table

__all__ = [
    "CERTIFICATE_SCHEMA",
    "Comparison",
    "build_lipschitz_certificate",
    "build_smoothing_certificate",
    "certificate_json",
    "class_table",
    "environment",
    "joint_digest",
    "object_table",
    "overview_table",
    "write_html_report",
]
