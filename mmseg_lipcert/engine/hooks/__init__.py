"""MMEngine hooks."""

from .certification_hook import CertificationHook
from .export_denoiser_hook import ExportDenoiserHook

__all__ = ["CertificationHook", "ExportDenoiserHook"]
