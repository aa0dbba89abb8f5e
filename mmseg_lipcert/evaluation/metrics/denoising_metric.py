from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS


@METRICS.register_module()
class DenoisingMetric(BaseMetric):
    """Peak signal-to-noise ratio of denoised images in dB, per noise level.

    For each sigma ``psnr@sigma`` is the mean over images and ``psnr_std@sigma`` their spread. The
    ratio itself is measured by the model (:class:`DenoisingDiffusion`).

    Args:
        collect_device: ``'cpu'`` or ``'gpu'``. Defaults to ``'cpu'``.
        prefix: Prefix of the metric names. Defaults to ``'denoising'``.
    """

    default_prefix = "denoising"

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Take the ratios of the images of one batch.

        Args:
            data_batch: Not used.
            data_samples: With ``psnr``, a ratio per sigma.
        """
        self.results.extend(sample["psnr"] for sample in data_samples)

    def compute_metrics(self, results: list[dict[float, float]]) -> dict[str, float]:
        """Mean and standard deviation over images of every sigma."""
        figures = {}
        for sigma in results[0]:
            ratios = [result[sigma] for result in results]
            figures[f"psnr@{sigma:g}"] = float(np.mean(ratios))
            figures[f"psnr_std@{sigma:g}"] = float(np.std(ratios))
        return figures
