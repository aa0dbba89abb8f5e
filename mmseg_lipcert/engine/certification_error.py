class CertificationError(Exception):
    """A reason why no certificate can be given; its message says what would be right."""
