"""Checks before a certification: whatever can go wrong should do so before the long work."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseTTAModel
from mmengine.utils import track_progress_rich
from mmseg.datasets import BaseSegDataset
from torch import Tensor, nn

from .certification_error import CertificationError
from .image_list import ImageList

#: Label maps are stored in 8 bits, and 255 is kept for abstention and ignored pixels.
MAX_CLASSES = 255

# Readings of one image that must agree; a flip of probability 1/2 escapes one time in 128.
_READS = 8

# Weights that are no masks or tables.
_COMPUTED = (".weight", ".bias", ".running_mean", ".running_var")

# Checkpoints of other people: heads of training only, counters of batch norm.
_UNUSED_IN_INFERENCE = r"^auxiliary_head\.|\.num_batches_tracked$|^decode_head\.loss_|^ema_"


def check_checkpoint(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Check that a checkpoint fills everything that inference uses of a model.

    Args:
        model: A Lipschitz segmentor, which must be filled exactly, or a wrapper around any other.
        state_dict: Weights of the checkpoint: those of the segmentor.

    Raises:
        CertificationError: If it does not, or holds NaN, naming the keys.
    """
    check_weights(state_dict)
    if isinstance(model, BaseTTAModel):
        check_state_dict(model.module, state_dict, spare=_UNUSED_IN_INFERENCE)
    else:
        check_state_dict(model, state_dict)


def file_digest(model: nn.Module) -> str | None:
    """SHA-256 of the file that a model is; None for a model that a checkpoint has to fill.

    Args:
        model: A segmentor or denoiser, or a wrapper around a segmentor.
    """
    inner = model.module if isinstance(model, BaseTTAModel) else model
    return getattr(inner, "file_sha256", None)


def check_weights(state_dict: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not numbers: every logit behind them would be none either.

    Only what is computed with must be finite: a mask may hold infinities.

    Raises:
        CertificationError: Naming the keys of weights with NaN or infinite values.
    """
    bad = []
    for key, value in state_dict.items():
        if value.is_floating_point() and not value.isfinite().all():
            if value.isnan().any() or key.endswith(_COMPUTED):
                bad.append(key)
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise CertificationError(
            f"weights contain NaN or infinite values: {', '.join(bad[:3])}{more}; the training "
            "that wrote the checkpoint has diverged, or the file is damaged"
        )


def check_lipschitz_model(model: nn.Module) -> None:
    """Refuse models that do not know their Lipschitz bound.

    Raises:
        CertificationError: Naming the type of the model and what can be done.
    """
    if not hasattr(model, "lipschitz_bound"):
        raise CertificationError(
            f"{type(model).__name__} has no Lipschitz bound: a Lipschitz certificate "
            "needs a LipEncoderDecoder; any other segmentor can be certified by smoothing: "
            "--certify smoothing, in Python method='smoothing'"
        )


def refuse_fp16(fp16: bool) -> None:
    """Refuse a test loop in half precision.

    Args:
        fp16: Setting of the test loop.

    Raises:
        CertificationError: If it is on, naming what smoothing has instead.
    """
    if fp16:
        raise CertificationError(
            "certify in full precision: the test loop's fp16 changes the certified map; smoothing "
            "has the segmentor's own autocast='float16'"
        )


def use_full_precision() -> None:
    """Switch reduced precision off for this process: it changes the map that is certified."""
    backends = torch.backends
    # Since PyTorch 2.9; first, so that the older switches below find nothing that contradicts them.
    for part in (backends, backends.cudnn, backends.mkldnn):
        for scope in (part, *(getattr(part, name, None) for name in ("conv", "matmul", "rnn"))):
            if hasattr(scope, "fp32_precision"):
                scope.fp32_precision = "ieee"
    backends.cuda.matmul.allow_tf32 = False
    backends.cudnn.allow_tf32 = False
    backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")


def check_state_dict(
    model: nn.Module, state_dict: Mapping[str, Tensor], spare: str | None = None
) -> None:
    """Check that a checkpoint fills every parameter and buffer of the model, and nothing else.

    MMEngine loads what fits and warns about the rest: the network would be partly random, and its
    certificates true but useless.

    Args:
        model: The model.
        state_dict: Weights of the checkpoint.
        spare: Pattern of keys that may be missing or left over, because inference does not use
            them. Defaults to None.

    Raises:
        CertificationError: If keys are missing or unexpected, or a shape differs.
    """
    given = {re.sub(r"^module\.", "", key): value for key, value in state_dict.items()}
    wanted = model.state_dict()
    problems = []
    for title, keys in (
        ("missing", [key for key in wanted if key not in given]),
        ("unexpected", [key for key in given if key not in wanted]),
        (
            "of another shape",
            [key for key in wanted if key in given and wanted[key].shape != given[key].shape],
        ),
    ):
        keys = [key for key in keys if spare is None or not re.search(spare, key)]
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            problems.append(f"{len(keys)} {title}: {', '.join(keys[:3])}{more}")
    if problems:
        raise CertificationError(
            f"the checkpoint does not fit the model ({'; '.join(problems)}); "
            "certify the config that it was trained with"
        )


def check_classes(classes: Sequence[str] | None, num_classes: int) -> None:
    """Check the classes of dataset and model.

    Args:
        classes: Of the dataset.
        num_classes: Of the model.

    Raises:
        CertificationError: If the dataset has none, the model has others, or there are too many to
            be stored.
    """
    if not classes:
        raise CertificationError(
            "the test dataset has no classes: give test_dataloader.dataset "
            "metainfo=dict(classes=[...], palette=[...])"
        )
    num_classes = max(2, num_classes)  # a binary head has one output
    if len(classes) != num_classes:
        raise CertificationError(
            f"the test dataset has {len(classes)} classes, the model {num_classes}: certify with "
            "the classes that it was trained on"
        )
    if num_classes > MAX_CLASSES:
        raise CertificationError(
            f"{num_classes} classes cannot be stored: label maps have 8 bits, which is room for "
            f"{MAX_CLASSES} classes and one value for abstention"
        )


def check_ignored(dataset: BaseSegDataset, ignore_index: int) -> None:
    """Require that dataset and metric ignore the same label.

    Raises:
        CertificationError: Naming both.
    """
    if dataset.ignore_index != ignore_index:
        raise CertificationError(
            f"the dataset ignores label {dataset.ignore_index}, the metric label {ignore_index}: "
            "give both the same ignore_index"
        )


def warn_about_one_class(present: Sequence[int], num_classes: int, ignore_index: int) -> None:
    """Warn of labels that are all of one class, as masks of 0 and 255 are.

    Args:
        present: The classes that labeled pixels have.
        num_classes: Number of classes of the dataset.
        ignore_index: Label that does not count.
    """
    if len(present) == 1 < num_classes:
        MMLogger.get_current_instance().warning(
            f"all labeled pixels have class {present[0]}: are other classes hidden behind the "
            f"ignored label {ignore_index}, in the files or by reduce_zero_label? Label files hold "
            f"class numbers 0..{num_classes - 1}, not colors"
        )


def check_dataset(
    images: ImageList, num_classes: int, ignore_index: int, labeled: bool = True
) -> list[int]:
    """Read every image and label map once.

    Args:
        images: The images that will be certified.
        num_classes: Number of classes of the model.
        ignore_index: Label that the metric ignores.
        labeled: Whether one of them must have a labeled pixel. Defaults to True.

    Returns:
        The number of pixels of each image.

    Raises:
        CertificationError: If an image or label map is missing, unreadable, of another size or has
            labels outside the classes (the message names the file), or no pixel has a label.
    """
    check_ignored(images.dataset, ignore_index)

    def check(name: str) -> tuple[int, list[int]]:
        info = images.info(name)
        files = f"{info['img_path']} (labels: {info.get('seg_map_path')})"
        try:
            sample = images.read(name)["data_samples"]
        # Loading runs third-party decoders and the user's transforms: any exception is about data.
        except Exception as error:
            raise CertificationError(f"cannot read {files}: {error}") from error
        if "gt_sem_seg" not in sample:
            raise CertificationError(
                f"{files} has no labels; the test pipeline must load them. Without labels, "
                "mmseg_lipcert.apis.CertifiedSegInferencer certifies stability (docs/python_api.md)"
            )
        labels = sample.gt_sem_seg.data
        if tuple(labels.shape) != (1, *sample.ori_shape[:2]):
            raise CertificationError(
                f"{files}: labels of shape {tuple(labels.shape)} do not fit an image of "
                f"{tuple(sample.ori_shape[:2])}: they need one channel of class numbers (not "
                "colors) at the image's original size"
            )
        valid = labels != ignore_index
        wrong = labels[valid & ((labels < 0) | (labels >= num_classes))]
        if len(wrong):
            raise CertificationError(
                f"{files} has labels {wrong.unique().tolist()[:5]}; "
                f"classes are 0..{num_classes - 1}, ignored pixels {ignore_index}"
            )
        return labels.numel(), labels[valid].long().bincount(minlength=num_classes).tolist()

    check(images.names[0])  # names the file if it cannot be read
    first = [images[0]["inputs"] for _ in range(_READS)]
    if any(not torch.equal(first[0], again) for again in first):
        raise CertificationError(
            "the test pipeline makes another image at every reading: remove random transforms from "
            "test_dataloader.dataset.pipeline"
        )
    logger = MMLogger.get_current_instance()
    logger.info(f"Reading {len(images)} images and label maps once")
    counts = track_progress_rich(check, [(name,) for name in images.names], description="reading")
    void = sum(not any(pixels) for _, pixels in counts)
    present = torch.tensor([pixels for _, pixels in counts]).sum(0).nonzero().flatten().tolist()
    if labeled and void == len(counts):
        raise CertificationError(
            f"no pixel of the {len(counts)} images has a label other than the ignored "
            f"{ignore_index}: accuracy and IoU are undefined; check the label files"
        )
    warn_about_one_class(present, num_classes, ignore_index)
    if void:
        logger.warning(f"{void} of {len(counts)} images have no labeled pixel and count nowhere")
    return [pixels for pixels, _ in counts]
