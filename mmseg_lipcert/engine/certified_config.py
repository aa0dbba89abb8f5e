"""What a certification sets in a config: the model and the metric of a method."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mmengine.config import Config
from mmseg.registry import METRICS, MODELS

from ..models.segmentors import LipDetector, LipEncoderDecoder
from .certification_error import CertificationError
from .certifiers import CERTIFIERS

_METRICS = {certifier.metric_type.__name__ for certifier in CERTIFIERS.values()}


def automatic_method(config: Config, denoiser: object = None) -> str:
    """Name of the method that a config certifies by.

    It is that of its metric; without one, ``lipschitz`` for a Lipschitz segmentor, and for any
    other ``denoise`` if there is a denoiser, else ``smoothing``.

    Args:
        config: A test config.
        denoiser: The denoiser that was asked for, if any.
    """
    metric = certificate_metric(config).get("type")
    named = [name for name, c in CERTIFIERS.items() if c.metric_type.__name__ == metric]
    if len(named) == 1:
        return named[0]
    if metric is None and _is_model(config, LipEncoderDecoder):
        return "lipschitz"
    return "denoise" if denoiser or has_denoiser(config) else "smoothing"


def foreign_settings(method: str, names: Collection[str]) -> list[str]:
    """Settings among ``names`` that mean nothing to a method."""
    certifier = CERTIFIERS[method]
    own = {*certifier.model_settings, *certifier.metric_settings, "seed"}
    if method == "denoise":
        own.add("denoiser")
    return [name for name in names if name not in own]


def has_denoiser(config: Config) -> bool:
    """Whether the model of a config has a denoiser."""
    return config.model.get("type") == "SmoothedSegmentor" and bool(config.model.get("denoiser"))


def certificate_metric(config: Config) -> dict[str, Any]:
    """Certificate metric of a config's test evaluator; empty if it has none."""
    found = (dict(m) for m in _evaluators(config) if m.get("type") in _METRICS)
    return next(found, {})


def set_method(config: Config, method: str, **settings: Any) -> None:
    """Give a config the model and the test evaluator of a method.

    Args:
        config: A test config, changed in place.
        method: Name of one of ``CERTIFIERS``.
        **settings: By the names of the method's certifier; None keeps the config's, or the default
            of its model or metric.

    Raises:
        ValueError: If the metric refuses a setting.
        CertificationError: If the model finds boxes instead of labels.
    """
    if _is_model(config, LipDetector):
        raise CertificationError("a LipDetector finds boxes, no labels: use lipcert detect")
    certifier = CERTIFIERS[method]
    metric = certificate_metric(config)
    if metric.get("type") != certifier.metric_type.__name__:
        metric = dict(type=certifier.metric_type.__name__)
    for part in (*_evaluators(config), (config.get("test_dataloader") or {}).get("dataset", {})):
        if "ignore_index" in part:
            metric.setdefault("ignore_index", part["ignore_index"])
    given = {name: value for name, value in settings.items() if value is not None}
    metric.update({name: given[name] for name in certifier.metric_settings if name in given})
    names = (*certifier.model_settings, "denoiser")
    config.model = certifier.model_config(
        config.model, method, {name: given[name] for name in names if name in given}
    )
    METRICS.build(metric)  # refuses wrong settings before any work
    # The hook certifies; other metrics would count resumed images wrongly.
    config.test_evaluator = metric


def _is_model(config: Config, wanted: type) -> bool:
    kind = config.model.get("type")
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    return isinstance(kind, type) and issubclass(kind, wanted)


def _evaluators(config: Config) -> list[dict[str, Any]]:
    evaluator = config.get("test_evaluator") or {}
    return list(evaluator) if isinstance(evaluator, (list, tuple)) else [evaluator]
