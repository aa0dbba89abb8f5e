"""Robustness certificates of segmentation: tensors in, numbers out.

From a Lipschitz bound (deterministic), and from noisy draws (probabilistic, ``smoothing_*``,
proofs in docs/smoothing.md).

If the map from an image to all its logits is L-Lipschitz (l2, jointly), a perturbation of norm eps
moves the logits by at most L eps. Every metric is minimised over all such logit changes.

What counts, in every function here:

- Ignored pixels are in no numerator, no denominator and no budget.
- ``eps = 0`` gives the clean value, also at tied logits. For any other eps the attacker wins ties:
  a pixel falls when the costs, summed in squares, are <= the squared budget; a tied pixel always.
- Tied logits are predicted as the lowest tied class. A binary head (one logit) predicts label 1
  where the logit is > 0.
- An image without valid pixel has NaN as its metrics; it is left out of means over images and
  adds nothing to pooled sums.
- Recall of a class without ground truth is NaN, and so is specificity when everything is the
  class. IoU and Dice of a class that is neither in the ground truth nor predicted are NaN while
  no attack can create a pixel of it, and 0 as soon as one can: the class then enters the mean over
  classes as 0, as MMSegmentation would count it, so that certified means stay lower bounds.
- A logit pixel that stands for several image pixels (``weights``, or label counts as target) is
  attacked as a whole; the knapsack is then relaxed fractionally, at most one item too pessimistic.
  In a cell of mixed labels, whatever would help the defender is not credited.
"""

from .dataset_summary import dataset_summary
from .image_entry import image_entry
from .iou import dataset_worst_case_iou
from .margins import entry_costs, flip_costs, predicted_labels
from .metrics import METRICS, QUERIES
from .queries import robustness_radius, worst_case
from .region import Region, RegionQuery
from .regions import change_curve, fabrication_radii, vanishing_regions
from .smoothing.binomial import required_draws, smoothing_radius
from .smoothing.corrections import holm_threshold
from .smoothing.dataset_summary import smoothing_summary
from .smoothing.image_entry import smoothing_entry
from .smoothing.maps import certified_labels, radius_map
from .smoothing.metric_level import metric_level_bound
from .smoothing.settings import SmoothingSettings

__all__ = [
    "METRICS",
    "QUERIES",
    "Region",
    "RegionQuery",
    "SmoothingSettings",
    "certified_labels",
    "change_curve",
    "dataset_summary",
    "dataset_worst_case_iou",
    "entry_costs",
    "fabrication_radii",
    "flip_costs",
    "holm_threshold",
    "image_entry",
    "metric_level_bound",
    "predicted_labels",
    "radius_map",
    "required_draws",
    "robustness_radius",
    "smoothing_entry",
    "smoothing_radius",
    "smoothing_summary",
    "vanishing_regions",
    "worst_case",
]
