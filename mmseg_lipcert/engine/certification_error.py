from ..utils.user_error import UserError


class CertificationError(UserError):
    """A reason why no certificate can be given; its message says what would be right."""
