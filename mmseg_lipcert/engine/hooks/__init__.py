"""MMEngine hooks."""

from .certification_hook import CertificationHook

__all__ = ["CertificationHook"]
