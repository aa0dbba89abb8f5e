"""Models of ``diffusers`` from local files; nothing here can download."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from safetensors.torch import load_file
from torch import Tensor

from ...utils.checkpoint import check_finite, read_weights
from ...utils.failures import blame
from ...utils.user_error import UserError
from .one_step import patch_size

_NAME = "diffusion_pytorch_model"
# Attention layers of checkpoints from before diffusers 0.15.
_RENAMED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def load_unet(path: Path, dtype: torch.dtype) -> UNet2DModel:
    """Load an unconditional model that denoises RGB images.

    Args:
        path: Pipeline folder with ``unet``, folder of the UNet, or ``.safetensors`` file with
            ``config.json`` beside it.
        dtype: Of the weights.

    Raises:
        FileNotFoundError: If something is missing; the message says what, and what to fetch.
        ValueError: If the model is of another kind.
        UserError: If a file is damaged, or the weights do not fit the configuration exactly or
            are not finite.
    """
    if path.suffix == ".safetensors":
        folder = path.parent
    else:
        folder = path / "unet" if (path / "unet").is_dir() else path
    file = folder / "config.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"{path} holds no diffusers model (there is no {file}). Nothing is downloaded: fetch "
            "one first, such as 'hf download google/ddpm-ema-church-256 --local-dir FOLDER', train "
            "one with lipcert train and a config of configs/denoiser, or convert one with lipcert "
            "guided-diffusion-to-diffusers"
        )
    config = _read_json(file)
    _check_config(path, config)
    # Built without memory: large models would otherwise be initialized at random first.
    with torch.device("meta"), blame(f"{file} describes no UNet2DModel"):
        unet = UNet2DModel.from_config(config)
    # Copied out of the mapped file, whose alignment would decide how sums are rounded.
    weights = {
        _current_name(key): value.to(dtype, copy=True)
        for key, value in _weights(path, folder).items()
    }
    try:
        unet.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        problems = " ".join(str(error).split())[:300]
        raise UserError(f"the weights of {path} do not fit {file}: {problems}") from error
    return unet.eval().requires_grad_(False)


def load_scheduler_config(path: Path) -> dict[str, Any]:
    """Configuration of the scheduler beside a model.

    Raises:
        FileNotFoundError: If there is none.
        UserError: If it is not one object in JSON.
    """
    folder = path.parent if path.suffix == ".safetensors" else path
    for place in (folder / "scheduler", folder.parent / "scheduler", folder):
        file = place / "scheduler_config.json"
        if file.is_file():
            return _read_json(file)
    raise FileNotFoundError(
        f"{path} has no scheduler/scheduler_config.json; fetch it too, or give "
        "scheduler=dict(_class_name='DDPMScheduler', ...) as the model was trained"
    )


def _check_config(path: Path, config: dict[str, Any]) -> None:
    kind = config.get("_class_name", "UNet2DModel")
    if kind != "UNet2DModel":
        raise ValueError(f"{path} is a {kind}; a denoiser is an unconditional UNet2DModel")
    try:
        patch_size(config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if config.get("num_class_embeds") is not None or config.get("class_embed_type") is not None:
        raise ValueError(f"{path}: the model wants a class; only unconditional ones can denoise")
    if config.get("time_embedding_type") == "learned":
        raise ValueError(f"{path}: the model knows whole timesteps only (time_embedding_type)")


def _weights(path: Path, folder: Path) -> dict[str, Tensor]:
    weights = {}
    for file in _weight_files(path, folder):
        if not file.is_file():
            raise FileNotFoundError(f"there is no {file}")
        if file.suffix == ".bin":
            weights |= read_weights(file)
        else:
            with blame(f"{file} is cut off, damaged or no safetensors file: fetch it again"):
                weights |= load_file(file)
    for key, value in weights.items():
        if not value.is_floating_point():
            raise UserError(f"{path}: {key} must hold finite floats, it is {value.dtype}")
    check_finite(weights, path)
    return weights


def _weight_files(path: Path, folder: Path) -> list[Path]:
    if path.suffix == ".safetensors":
        return [path]
    # The first one that exists; half precision only where there is nothing better.
    for name in (_NAME, f"{_NAME}.fp16", f"{_NAME}.bf16"):
        if (folder / f"{name}.safetensors").is_file():
            return [folder / f"{name}.safetensors"]
        index = folder / f"{name}.safetensors.index.json"
        if index.is_file():
            with blame(f"{index} lists no files of weights (weight_map)"):
                shards = set(_read_json(index)["weight_map"].values())
                return [folder / shard for shard in sorted(shards)]
    pickled = folder / f"{_NAME}.bin"
    if pickled.is_file():
        return [pickled]
    raise FileNotFoundError(
        f"{folder} has a configuration but no weights: fetch {_NAME}.safetensors too"
    )


def _read_json(file: Path) -> dict[str, Any]:
    with blame(f"{file} is no JSON: fetch it again"):
        content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not content:
        raise UserError(f"{file} must hold one object {{...}} of settings, got {content!r:.60}")
    return content


def _current_name(key: str) -> str:
    return re.sub(
        rf"(attentions\.\d+)\.({'|'.join(_RENAMED)})\.",
        lambda match: f"{match[1]}.{_RENAMED[match[2]]}.",
        key,
    )
