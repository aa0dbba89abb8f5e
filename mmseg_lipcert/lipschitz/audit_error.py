"""The error of an audit that cannot give a bound."""

from mmseg_lipcert.utils.user_error import UserError


class AuditError(UserError):
    """A model has no audited Lipschitz bound, hence no certificate."""
