from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.registry import METRICS

from ...certificates import SmoothingSettings, smoothing_entry, smoothing_summary
from ...utils.rounding import check_distinct, percent, significant
from .certificate_metric import CertificateMetric


@METRICS.register_module()
class SmoothingCertificateMetric(CertificateMetric):
    """Segmentation metrics of a smoothed segmentor, guaranteed with probability 1 - alpha.

    Samples must carry the chosen classes and their hits, as :class:`SmoothedSegmentor` counts them.
    Each image becomes one small entry (:func:`mmseg_lipcert.certificates.smoothing_entry`), the
    dataset figures come from the entries alone
    (:func:`mmseg_lipcert.certificates.smoothing_summary`).

    Args:
        alpha: Probability that the certificate of an image is wrong. Defaults to 0.001.
        tau: Probabilities of the chosen class that are tested, in [0.5, 1); each gives a radius
            ``sigma * Phi^-1(tau)``, and alpha is split among them. Defaults to 0.75.
        correction: ``'holm'``, ``'bonferroni'``, ``'k-fwer'`` (at most ``k - 1`` pixels of an image
            are certified wrongly) or ``'metric'`` (the figures themselves are guaranteed, not every
            pixel). Defaults to ``'holm'``.
        k: Of ``'k-fwer'``. Defaults to 1.
        ignore_index: Label of ignored pixels. Defaults to 255.
        collect_device: ``'cpu'`` or ``'gpu'``. Defaults to ``'cpu'``.
        prefix: Prefix of the metric names. Defaults to ``'certified'``.

    Raises:
        ValueError: If alpha, tau, the correction or k are out of range.
    """

    def __init__(
        self,
        alpha: float = 0.001,
        tau: float | Sequence[float] = 0.75,
        correction: str = "holm",
        k: int = 1,
        ignore_index: int = 255,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(ignore_index, collect_device, prefix)
        self.options = dict(
            alpha=alpha,
            taus=tuple(tau) if isinstance(tau, Sequence) else (tau,),
            correction=correction,
            k=k,
        )
        self.settings_for(sigma=1.0, n0=1, n=1)  # refuses wrong options before any work

    def settings_for(self, sigma: float, n0: int, n: int) -> SmoothingSettings:
        """All settings of the test, with those of the draws.

        Raises:
            ValueError: If one is out of range, or two radii are the same in every table.
        """
        settings = SmoothingSettings(sigma=sigma, n0=n0, n=n, **self.options)
        check_distinct(settings.radii, f"the radii of tau {settings.taus}")
        return settings

    def certify(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Entry of one smoothed prediction.

        Args:
            sample: A predicted ``SegDataSample`` as a dictionary.

        Raises:
            ValueError: If the sample carries no hits.
        """
        drawn = sample.get("smoothing")
        if drawn is None:
            raise ValueError(
                f"{sample.get('img_path')}: the prediction carries no hits of noisy draws; certify "
                "a SmoothedSegmentor with the CertificationHook"
            )
        target = sample["gt_sem_seg"]["data"].squeeze(0)
        selected, hits, clean = (
            sample[name]["data"].squeeze(0).to(target.device)
            for name in ("smoothing_selected", "smoothing_hits", "clean_prediction")
        )
        settings = self.settings_for(drawn["sigma"], drawn["n0"], drawn["n"])
        entry = smoothing_entry(
            selected,
            hits,
            target,
            clean,
            settings,
            len(self.dataset_meta["classes"]),
            self.ignore_index,
            drawn["hierarchy"],
        )
        return {**entry, "forward_passes": drawn["forward_passes"]}

    def summarize(self, entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Figures of the dataset (:func:`mmseg_lipcert.certificates.smoothing_summary`)."""
        return smoothing_summary(entries)

    def title(self, entry: dict[str, Any]) -> str:
        """Certified accuracy and abstentions of an image at the first radius."""
        row = self.summarize([entry])["certified"][0]
        return (
            f"certified at {significant(row['eps'])}: accuracy {percent(row['pixel_accuracy'])}, "
            f"{percent(row['abstain'], up=True)} abstain (black)"
        )
