"""What happens around a certification: checks before, artifacts during, the report after."""

from . import hooks, optimizers
from .certificate_store import CertificateStore
from .certification_error import CertificationError
from .checks import check_dataset, check_state_dict

__all__ = [
    "CertificateStore",
    "CertificationError",
    "check_dataset",
    "check_state_dict",
    "hooks",
    "optimizers",
]
