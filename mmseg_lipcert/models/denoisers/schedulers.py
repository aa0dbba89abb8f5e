"""The noise families of ``diffusers`` schedulers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import diffusers

from ...utils.failures import describe
from .flow_matching import FlowMatching
from .karras import Karras
from .noise_family import NoiseFamily
from .variance_preserving import VariancePreserving


def noise_family(config: Mapping[str, Any], clip: bool | None = None) -> NoiseFamily:
    """The family of a scheduler.

    Args:
        config: Of a ``diffusers`` scheduler, with ``_class_name``.
        clip: Whether clean images are clipped to the model's range; by default the scheduler says
            (``clip_sample``).

    Raises:
        ValueError: If the scheduler is not known, cannot be built, is of a family that has no
            closed form here, or has settings that would not be applied.
    """
    name = str(config.get("_class_name"))
    if not name.endswith("Scheduler") or not hasattr(diffusers, name):
        raise ValueError(
            f"diffusers has no scheduler {name!r}; give "
            "scheduler=dict(_class_name='DDPMScheduler', ...) as the model was trained"
        )
    try:
        return _family(name, config, clip)
    # The config is the user's; diffusers raises all kinds of exceptions about it.
    except Exception as error:
        raise ValueError(f"the scheduler {name} cannot be used: {describe(error)}") from error


def _family(name: str, config: Mapping[str, Any], clip: bool | None) -> NoiseFamily:
    scheduler = getattr(diffusers, name).from_config(dict(config))
    if scheduler is None:  # What is left of schedulers that diffusers has removed.
        raise ValueError("the installed diffusers has it no more")
    settings = scheduler.config
    if settings.get("thresholding", False):
        raise ValueError(
            "thresholding=True, but dynamic thresholding is not applied here; set "
            "thresholding=False"
        )
    prediction = settings.get("prediction_type", "epsilon")
    if name.startswith("EDM"):
        return Karras(settings.sigma_data, prediction, (settings.sigma_min, settings.sigma_max))
    if name.startswith("FlowMatch") or prediction == "flow_prediction":
        if settings.get("invert_sigmas", False):
            raise ValueError("invert_sigmas=True, but inverted noise levels are not applied here")
        return FlowMatching(settings.num_train_timesteps)
    if not hasattr(scheduler, "alphas_cumprod"):
        raise ValueError(
            "it is neither variance preserving (DDPM, DDIM, ...), EDM nor flow matching"
        )
    clips = settings.get("clip_sample", False) if clip is None else clip
    limit = settings.get("clip_sample_range", 1.0) if clips else None
    return VariancePreserving(scheduler.alphas_cumprod, prediction, limit)
