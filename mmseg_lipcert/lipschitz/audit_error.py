"""The error of an audit that cannot give a bound."""


class AuditError(RuntimeError):
    """A model has no audited Lipschitz bound, hence no certificate."""
