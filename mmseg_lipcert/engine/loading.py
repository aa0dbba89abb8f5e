"""One door for what a user gives: the model of a config, its weights and its test data."""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseDataPreprocessor, BaseTTAModel
from mmengine.registry import DefaultScope
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, MODELS
from torch import nn

from ..utils.checkpoint import read_weights
from ..utils.failures import blame
from ..utils.user_error import UserError
from .checks import check_checkpoint, check_state_dict, check_weights
from .run_settings import weights_digest

__all__ = ["build_dataset", "build_model", "check_first_item", "check_preprocessor", "fill_model"]


def build_model(config: Config) -> nn.Module:
    """Build the model of a config, in its scope.

    Raises:
        UserError: If the config has none, or it cannot be built.
    """
    where = f"config {config.filename}"
    if not isinstance(config.get("model"), Mapping):
        raise UserError(f"{where} has no model: give model=dict(type=...)")
    with _scope(config), blame(f"cannot build the model of {where}"):
        model = MODELS.build(config.model)
    check_preprocessor(model)
    return model


def check_preprocessor(model: nn.Module) -> None:
    """Require that a segmentor, or the one in a wrapper, normalizes images by finite numbers.

    Raises:
        UserError: If it has no preprocessor of its own, or naming its mean or standard deviation.
    """
    segmentor = getattr(model, "module", model)
    preprocessor = getattr(segmentor, "data_preprocessor", None)
    if type(preprocessor) is BaseDataPreprocessor:
        raise UserError(
            f"the {type(segmentor).__name__} has no data_preprocessor: give the one it was trained "
            "with, model.data_preprocessor=dict(type='SegDataPreProcessor', mean=..., std=...)"
        )
    for name, least in (("mean", -torch.inf), ("std", 0.0)):
        values = getattr(preprocessor, name, None)
        if isinstance(values, torch.Tensor) and not ((values > least) & values.isfinite()).all():
            kind = "positive" if name == "std" else "finite"
            raise UserError(
                f"{name} of the data_preprocessor must be {kind} numbers, got "
                f"{values.flatten().tolist()}"
            )


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
            # Before the toolbox complains with all classes and colors.
            _check_palette(
                {**kind.METAINFO, **(settings.get("metainfo") or {})}, f"the dataset of {key}"
            )
        dataset = DATASETS.build(settings)
    _check_data(dataset, f"the dataset of {key}")
    return dataset


def check_first_item(dataset: BaseSegDataset, key: str) -> None:
    """Read the first item of a dataset as a model is given it.

    Args:
        dataset: The dataset.
        key: Its dataloader, for messages.

    Raises:
        UserError: If it cannot be read, is not packed, or its labels are no classes.
    """
    info = dataset.get_data_info(0) if hasattr(dataset, "get_data_info") else {}
    files = [str(info[name]) for name in ("img_path", "seg_map_path") if info.get(name)]
    with blame(f"cannot read the first item of {key}, {' and '.join(files)}"):
        item = dataset[0]
    if not isinstance(item, Mapping) or "inputs" not in item:
        raise UserError(
            f"the pipeline of {key} gives no 'inputs': it must end in dict(type='PackSegInputs')"
        )
    classes = getattr(dataset, "metainfo", {}).get("classes")
    if classes and "gt_sem_seg" in item.get("data_samples", ()):
        labels = item["data_samples"].gt_sem_seg.data
        ignored = getattr(dataset, "ignore_index", 255)
        # 255 is what padding leaves, whatever the dataset ignores.
        known = (labels == ignored) | (labels == 255) | ((labels >= 0) & (labels < len(classes)))
        if labels.ndim != 3 or len(labels) != 1 or not known.all():
            raise UserError(
                f"{' and '.join(files)}: labels of shape {tuple(labels.shape)} with the values "
                f"{labels.unique().tolist()[:5]}, where {key} needs one channel of class numbers "
                f"0..{len(classes) - 1} (not colors), and {ignored} for ignored pixels"
            )


def _check_data(dataset: BaseSegDataset, what: str) -> None:
    """Require that a dataset has images, and that its list of them is read as meant.

    Raises:
        UserError: Naming the folder or the file.
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
