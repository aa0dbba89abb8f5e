"""Pictures of certificates."""

from .certificate_figure import save_certificate_figure

__all__ = ["save_certificate_figure"]
