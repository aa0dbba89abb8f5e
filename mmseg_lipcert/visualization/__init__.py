"""Pictures of certificates."""

from .certificate_figure import save_certificate_figure
from .curve_figure import save_curve_figure
from .region_figure import save_region_figure

__all__ = ["save_certificate_figure", "save_curve_figure", "save_region_figure"]
