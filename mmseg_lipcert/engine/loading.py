"""One door for what a user gives: the model of a config, its weights and its test data."""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.model import BaseTTAModel
from mmengine.registry import DefaultScope
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, MODELS
from torch import nn

from ..utils.checkpoint import read_weights
from ..utils.failures import blame
from ..utils.user_error import UserError
from .checks import check_checkpoint, check_state_dict, check_weights
from .run_settings import weights_digest

__all__ = ["build_dataset", "build_model", "fill_model"]


def build_model(config: Config) -> nn.Module:
    """Build the model of a config, in its scope.

    Raises:
        UserError: If the config has none, or it cannot be built.
    """
    where = f"config {config.filename}"
    if not isinstance(config.get("model"), Mapping):
        raise UserError(f"{where} has no model: give model=dict(type=...)")
    with _scope(config), blame(f"cannot build the model of {where}"):
        return MODELS.build(config.model)


def fill_model(
    model: nn.Module, checkpoint: str | os.PathLike[str], for_inference: bool = False
) -> str:
    """Fill a model exactly by a checkpoint; give the digest of its weights.

    Args:
        model: A segmentor, or a wrapper around one.
        checkpoint: Weights of the segmentor.
        for_inference: Whether weights that inference does not use may be missing or left over,
            where a wrapper says that any segmentor will do. Defaults to False.

    Raises:
        UserError: If the file is no checkpoint, or does not fit the model.
    """
    state = read_weights(checkpoint)
    if for_inference:
        check_checkpoint(model, state)
    else:
        check_weights(state)
        check_state_dict(model, state)
    model = model.module if for_inference and isinstance(model, BaseTTAModel) else model
    model.load_state_dict(state, strict=not for_inference)
    return weights_digest(state)


def build_dataset(config: Config, key: str = "test_dataloader") -> BaseSegDataset:
    """Build the dataset of a dataloader of a config, in its scope, and look at its list of images.

    Args:
        config: The config.
        key: Which of its dataloaders.

    Raises:
        UserError: If the config has none, it cannot be built, or it has no images.
    """
    where, loader = f"config {config.filename}", config.get(key)
    if not isinstance(loader, Mapping) or not isinstance(loader.get("dataset"), Mapping):
        raise UserError(f"{where} has no {key} with a dataset")
    with _scope(config), blame(f"cannot build the dataset of {key} of {where}"):
        settings = dict(loader.dataset)
        name = settings.get("type")
        kind = DATASETS.get(name) if isinstance(name, str) else name
        # A wrapper such as ConcatDataset is built as it is.
        if isinstance(kind, type) and issubclass(kind, BaseSegDataset):
            settings["serialize_data"] = False  # without, a dataset may be empty
        dataset = DATASETS.build(settings)
    _check_data(dataset, f"the dataset of {key}")
    return dataset


def _check_data(dataset: BaseSegDataset, what: str) -> None:
    """Require that a dataset has images, that its list of them is read as meant, and its colors.

    Raises:
        UserError: Naming the folder, the file or the color.
    """
    listed = getattr(dataset, "ann_file", None)
    if listed and Path(listed).is_file():
        with open(listed, "rb") as file:
            if file.read(3) == codecs.BOM_UTF8:
                raise UserError(
                    f"ann_file {listed} begins with a byte order mark, which would become part of "
                    "the first name: save it as UTF-8 without"
                )
    if len(dataset) == 0:
        prefix = getattr(dataset, "data_prefix", {})
        suffix = getattr(dataset, "img_suffix", None)
        raise UserError(
            f"{what} has no images in {prefix.get('img_path')}: no file ends in {suffix!r} "
            "(img_suffix)"
        )
    _check_palette(getattr(dataset, "metainfo", {}), what)


def _check_palette(metainfo: Mapping, what: str) -> None:
    """Require one color of three numbers from 0 to 255 for each class, where there is a palette.

    Raises:
        UserError: Naming the color.
    """
    classes, palette = metainfo.get("classes"), metainfo.get("palette")
    if not classes or not palette:
        return
    if len(palette) < len(classes):
        raise UserError(
            f"the palette of {what} has {len(palette)} colors for {len(classes)} classes: "
            "give one for each, metainfo=dict(palette=[[R, G, B], ...])"
        )
    for color in palette:
        values = np.asarray(color)
        if values.shape != (3,) or values.dtype.kind not in "iu" or not _in_bytes(values):
            raise UserError(
                f"the palette of {what} has the color {color!r}: a color is three whole numbers "
                "from 0 to 255"
            )


def _in_bytes(values: np.ndarray) -> bool:
    return bool(values.min() >= 0 and values.max() <= 255)


def _scope(config: Config) -> DefaultScope:
    return DefaultScope.overwrite_default_scope(config.get("default_scope", "mmseg"))
