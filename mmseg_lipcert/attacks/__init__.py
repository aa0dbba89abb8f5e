"""l2 attacks on segmentors: the upper bound of the worst case that certificates stay below.

Images are in [0, 1], norms are those of all pixels and channels of an image, and every function
works on a batch (N, 3, H, W) whose images do not influence each other. An attack is

- a map from images to logits that lets gradients through: any function, a whole segmentor
  (``SegmentorLogits``) or the expectation over noise of one (``SmoothedLogits``);
- an ``Objective``: published losses, a smooth count, the certificate's knapsack, an object to be
  erased or a class to be invented;
- a descent inside a ``Ball``: ``pgd``, ``apgd``; or ``minimal_norm`` without one.
"""

from .apgd import apgd
from .attack_run import AttackRun
from .attack_settings import AttackSettings
from .attack_store import AttackStore
from .attack_summary import attack_summary
from .ball import Ball
from .catalog import ATTACKS, DEFAULT_ATTACKS, Attack, attack_accuracy
from .counts import label_counts, refuted
from .exact_segmentor import ExactSegmentor
from .found import Found
from .minimal_norm import minimal_norm
from .objectives import (
    CountObjective,
    ErrorObjective,
    FabricationObjective,
    KnapsackObjective,
    Objective,
    PublishedObjective,
    VanishingObjective,
)
from .pgd import pgd
from .segmentor_logits import SegmentorLogits
from .smoothed_logits import SmoothedLogits

__all__ = [
    "ATTACKS",
    "DEFAULT_ATTACKS",
    "Attack",
    "AttackRun",
    "AttackSettings",
    "AttackStore",
    "Ball",
    "CountObjective",
    "ErrorObjective",
    "ExactSegmentor",
    "FabricationObjective",
    "Found",
    "KnapsackObjective",
    "Objective",
    "PublishedObjective",
    "SegmentorLogits",
    "SmoothedLogits",
    "VanishingObjective",
    "apgd",
    "attack_accuracy",
    "attack_summary",
    "label_counts",
    "minimal_norm",
    "pgd",
    "refuted",
]
