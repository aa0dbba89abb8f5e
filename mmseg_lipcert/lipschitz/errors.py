"""Why a model has no audited bound."""

from ..utils.user_error import UserError


class AuditError(UserError):
    """A model has no audited Lipschitz bound, hence no certificate."""


class UnboundedOperationError(AuditError):
    """An operation of the traced graph has no Lipschitz bound.

    Args:
        operation: Name of the ATen operation.
        module_path: Path of the module that calls it, '' for the model itself.
        reason: Why it has no bound.
    """

    def __init__(self, operation: str, module_path: str, reason: str) -> None:
        self.operation = operation
        self.module_path = module_path
        self.reason = reason
        super().__init__(f"{operation} in module '{module_path or '(model)'}': {reason}")
