"""Lipschitz constants that are computed from the weights, never declared."""

from .audit import audit, require_unchanged
from .conv_norms import conv_norm_bound
from .errors import AuditError, UnboundedOperationError
from .lipschitz_audit import LayerRecord, LipschitzAudit
from .lower_bound import measured_lower_bound
from .norms import (
    interpolation_norm,
    matrix_norm_bound,
    preprocessing_norm,
    sliding_window_norm,
)

__all__ = [
    "AuditError",
    "LayerRecord",
    "LipschitzAudit",
    "UnboundedOperationError",
    "audit",
    "conv_norm_bound",
    "interpolation_norm",
    "matrix_norm_bound",
    "measured_lower_bound",
    "preprocessing_norm",
    "require_unchanged",
    "sliding_window_norm",
]
