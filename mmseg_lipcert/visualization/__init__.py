"""Pictures of certificates."""

from .accuracy_figure import save_accuracy_figure
from .attack_figure import save_attack_curve, save_attack_scatter
from .certificate_figure import save_certificate_figure
from .comparison_figure import save_comparison_figure
from .curve_figure import save_curve_figure
from .detection_figure import save_detection_figure
from .guarantee_figure import guarantee_svg
from .object_figure import save_object_figure
from .region_figure import save_region_figure

__all__ = [
    "guarantee_svg",
    "save_accuracy_figure",
    "save_attack_curve",
    "save_attack_scatter",
    "save_certificate_figure",
    "save_comparison_figure",
    "save_curve_figure",
    "save_detection_figure",
    "save_object_figure",
    "save_region_figure",
]
