"""What an attack makes large: one class per goal."""

from .accuracy_objective import AccuracyObjective
from .count_objective import CountObjective
from .detection_objective import DetectionObjective
from .error_objective import ErrorObjective
from .fabrication_objective import FabricationObjective
from .knapsack_objective import KnapsackObjective
from .objective import Objective
from .published_objective import PublishedObjective
from .quota_objective import QuotaObjective
from .vanishing_objective import VanishingObjective

__all__ = [
    "AccuracyObjective",
    "CountObjective",
    "DetectionObjective",
    "ErrorObjective",
    "FabricationObjective",
    "KnapsackObjective",
    "Objective",
    "PublishedObjective",
    "QuotaObjective",
    "VanishingObjective",
]
