"""Lipschitz constants that are computed from the weights, never declared."""

from mmseg_lipcert.lipschitz.audit import audit
from mmseg_lipcert.lipschitz.audit_error import AuditError
from mmseg_lipcert.lipschitz.layer_record import LayerRecord
from mmseg_lipcert.lipschitz.lipschitz_audit import LipschitzAudit
from mmseg_lipcert.lipschitz.lower_bound import measured_lower_bound
from mmseg_lipcert.lipschitz.norms import (
    conv_norm_bound,
    interpolation_norm,
    matrix_norm_bound,
    preprocessing_norm,
    sliding_window_norm,
)
from mmseg_lipcert.lipschitz.unbounded_operation_error import UnboundedOperationError

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
    "sliding_window_norm",
]
