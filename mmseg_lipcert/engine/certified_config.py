"""What a certification sets in a config: the model and the metric of a method."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mmengine.config import Config, ConfigDict
from mmseg.registry import METRICS

#: The metric of each method.
METHOD_METRICS = dict(
    lipschitz="LipschitzCertificateMetric",
    smoothing="SmoothingCertificateMetric",
    denoise="SmoothingCertificateMetric",
)
_MODEL_SETTINGS = (
    *("sigma", "n0", "n", "draws_per_batch", "noise_at", "scale"),
    *("hierarchy", "shard_draws", "seed", "autocast", "channels_last", "compile"),
)
_METRIC_SETTINGS = ("alpha", "tau", "correction", "k")
# `seed` is everyone's: a Lipschitz certificate has none to set.
_SMOOTHING_SETTINGS = tuple(
    name for name in (*_MODEL_SETTINGS, *_METRIC_SETTINGS) if name != "seed"
)
_FOREIGN_SETTINGS = dict(
    lipschitz=(*_SMOOTHING_SETTINGS, "denoiser"),
    smoothing=("eps", "denoiser"),
    denoise=("eps",),
)


def automatic_method(config: Config, denoiser: object = None) -> str:
    """Name of the method that a config certifies by.

    It is that of its metric; without one, ``lipschitz`` for a Lipschitz segmentor, and for any
    other ``denoise`` if there is a denoiser, else ``smoothing``.

    Args:
        config: A test config.
        denoiser: The denoiser that was asked for, if any.
    """
    metric = certificate_metric(config).get("type")
    smoothed = config.model.get("type") == "SmoothedSegmentor"
    segmentor = config.model.module if smoothed else config.model
    if metric == METHOD_METRICS["lipschitz"] or (
        metric is None and not smoothed and segmentor.get("type") == "LipEncoderDecoder"
    ):
        return "lipschitz"
    return "denoise" if denoiser or has_denoiser(config) else "smoothing"


def foreign_settings(method: str, names: Collection[str]) -> list[str]:
    """Settings among ``names`` that mean nothing to a method."""
    return [name for name in _FOREIGN_SETTINGS[method] if name in names]


def has_denoiser(config: Config) -> bool:
    """Whether the model of a config has a denoiser."""
    return config.model.get("type") == "SmoothedSegmentor" and bool(config.model.get("denoiser"))


def certificate_metric(config: Config) -> dict[str, Any]:
    """Certificate metric of a config's test evaluator; empty if it has none."""
    found = (dict(m) for m in _evaluators(config) if m.get("type") in METHOD_METRICS.values())
    return next(found, {})


def set_method(
    config: Config, method: str, *, eps: Any = None, denoiser: Any = None, **settings: Any
) -> None:
    """Give a config the model and the test evaluator of a method.

    Args:
        config: A test config, changed in place.
        method: ``'lipschitz'``, ``'smoothing'`` or ``'denoise'``.
        eps: Norms of the perturbation; None keeps the config's or the metric's own.
        denoiser: Config of a denoiser, or the folder or file of a diffusers model; None keeps the
            config's.
        **settings: Arguments of ``SmoothedSegmentor`` and ``SmoothingCertificateMetric``; None
            keeps the config's.

    Raises:
        ValueError: If the metric refuses a setting.
    """
    metric = certificate_metric(config)
    if metric.get("type") != METHOD_METRICS[method]:
        metric = dict(type=METHOD_METRICS[method])
    for part in (*_evaluators(config), (config.get("test_dataloader") or {}).get("dataset", {})):
        if "ignore_index" in part:
            metric.setdefault("ignore_index", part["ignore_index"])
    smoothed = config.model.get("type") == "SmoothedSegmentor"
    if method == "lipschitz":
        if smoothed:
            config.model = config.model.module
        _update(metric, eps=eps)
    else:
        if not smoothed:
            config.model = ConfigDict(type="SmoothedSegmentor", module=config.model)
        _update(config.model, **{name: settings.get(name) for name in _MODEL_SETTINGS})
        _update(metric, **{name: settings.get(name) for name in _METRIC_SETTINGS})
        if method == "smoothing":
            config.model.denoiser = None
        elif denoiser is not None:
            config.model.denoiser = (
                denoiser
                if isinstance(denoiser, dict)
                else dict(type="DiffusersDenoiser", path=str(denoiser))
            )
    METRICS.build(metric)  # refuses wrong settings before any work
    # The certified metric reports the clean values too; others would count resumed images wrongly.
    config.test_evaluator = metric


def _evaluators(config: Config) -> list[dict[str, Any]]:
    evaluator = config.get("test_evaluator") or {}
    return list(evaluator) if isinstance(evaluator, (list, tuple)) else [evaluator]


def _update(target: dict[str, Any], **values: Any) -> None:
    target.update({name: value for name, value in values.items() if value is not None})
