from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.structures import PixelData
from mmseg.datasets import BaseSegDataset
from mmseg.registry import TRANSFORMS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..certificates.validation import check_labels
from ..engine import CertificationError
from ..utils.image_name import image_name

Image = str | os.PathLike[str] | np.ndarray
Labels = str | os.PathLike[str] | np.ndarray | Tensor

_IMAGE_LOADERS = ("LoadImageFromFile", "LoadCheckedImage")
_LABEL_LOADERS = ("LoadAnnotations", "LoadCheckedAnnotations")


class ImageReader:
    """Reads images as the test pipeline of a config does, with or without labels.

    Args:
        dataset: The test dataset, which need not have any file: it says where its images would be
            and what is done to its labels.
        pipeline: Transforms of the test pipeline, as configs.
        exact: Whether the image must leave the pipeline as it enters, because the certificate is to
            be about the image that was given.

    Raises:
        CertificationError: If the pipeline does not begin with a loader of image files.
    """

    def __init__(self, dataset: BaseSegDataset, pipeline: Sequence[dict], exact: bool) -> None:
        self.dataset = dataset
        self.exact = exact
        first, *others = [dict(transform) for transform in pipeline]
        if first["type"] not in _IMAGE_LOADERS:
            raise CertificationError(
                f"the test pipeline must begin with {' or '.join(_IMAGE_LOADERS)}, "
                f"it begins with {first['type']}"
            )
        self._load_file = TRANSFORMS.build(first)
        self._load_array = TRANSFORMS.build(
            dict(type="LoadImageFromNDArray", to_float32=first.get("to_float32", False))
        )
        self._kinds = [transform["type"] for transform in others]
        of_labels = (*_LABEL_LOADERS, "CheckLabels")
        plain = [transform for transform in others if transform["type"] not in of_labels]
        self._with_labels, self._without_labels = Compose(others), Compose(plain)

    def __call__(
        self, image: Image, target: Labels | None = None, name: str | None = None
    ) -> tuple[Tensor, SegDataSample, np.ndarray]:
        """Read one image.

        Args:
            image: File, or array (H, W, 3), uint8, BGR.
            target: Labels: a file, read as the dataset does, or a map (H, W) of integers.
            name: Of the image, as the certification of a dataset names it; by default, what the
                file is called in the folder of the dataset, and a digest of an array.

        Returns:
            Input of the model (3, h, w), sample, and pixels (H, W, 3) of the image, BGR.

        Raises:
            TypeError: If image or labels are of another type.
            ValueError: If an array does not hold an image, or labels do not fit it.
            CertificationError: If a file cannot be read, or the pipeline changes the image.
        """
        _check_image(image)
        results = dict(
            img_path=self._path(image, name),
            seg_map_path=None,
            label_map=self.dataset.label_map,
            reduce_zero_label=self.dataset.reduce_zero_label,
            seg_fields=[],
        )
        path, from_file = results["img_path"], isinstance(target, (str, os.PathLike))
        try:
            name = image_name(path, self.dataset.data_prefix.get("img_path"))
        except ValueError as error:
            raise CertificationError(str(error)) from error
        # The path of an array names its noise; there is no such file.
        shown = "the given array" if isinstance(image, np.ndarray) else path
        if from_file:
            if not set(self._kinds) & set(_LABEL_LOADERS):
                raise CertificationError(
                    f"cannot read labels {os.fspath(target)}: the test pipeline has no "
                    "LoadAnnotations; give them as an array (H, W)"
                )
            results["seg_map_path"] = os.fspath(target)
        try:
            if isinstance(image, np.ndarray):
                results = self._load_array(dict(results, img=image))
            else:
                results = self._load_file(dict(results, img_path=os.fspath(image)))
            pixels = results["img"].copy()
            data = (self._with_labels if from_file else self._without_labels)(results)
        # Decoders and transforms may raise anything; a missing file names itself.
        except Exception as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise CertificationError(f"cannot read {shown}: {error}") from error
        inputs, sample = data["inputs"], data["data_samples"]
        sample.set_metainfo(dict(img_path=path, image_name=name))
        if self.exact:
            self._check_unchanged(shown, pixels, inputs)
        if target is not None and not from_file:
            sample.gt_sem_seg = PixelData(data=_label_tensor(target)[None])
        if target is not None:
            self._check_labels(shown, sample.gt_sem_seg.data[0], pixels.shape[:2])
        return inputs, sample, pixels

    def _path(self, image: Image, name: str | None) -> str:
        """Path that names the image: inside of the dataset's folder, if it lies there."""
        root = self.dataset.data_prefix.get("img_path")
        if isinstance(image, np.ndarray) or name is not None:
            if name is None:
                name = f"array-{hashlib.sha256(np.ascontiguousarray(image)).hexdigest()[:16]}"
            return os.path.join(root or "", f"{name}.png")  # names have no suffix
        if root:
            absolute = Path(os.path.abspath(image))
            if absolute.is_relative_to(os.path.abspath(root)):
                return os.path.join(root, absolute.relative_to(os.path.abspath(root)))
        return os.fspath(image)

    def _check_unchanged(self, path: str, pixels: np.ndarray, inputs: Tensor) -> None:
        given = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        if given.shape == inputs.shape and torch.equal(given.float(), inputs.float()):
            return
        raise CertificationError(
            f"{path}: the test pipeline ({', '.join(self._kinds)}) changes the image, from "
            f"{tuple(given.shape[1:])} to {tuple(inputs.shape[1:])} pixels; a radius would be that "
            "of the changed image. Remove what changes it (Resize, for example) from "
            "test_dataloader.dataset.pipeline"
        )

    def _check_labels(self, path: str, labels: Tensor, size: tuple[int, int]) -> None:
        if tuple(labels.shape) != tuple(size):
            raise ValueError(
                f"{path}: target has shape {tuple(labels.shape)}, its image needs {tuple(size)}"
            )
        check_labels(labels, len(self.dataset.metainfo["classes"]), self.dataset.ignore_index)


def _check_image(image: object) -> None:
    wanted = "a file, or an array (H, W, 3) of uint8, BGR"
    if isinstance(image, (str, os.PathLike)):
        return
    if not isinstance(image, np.ndarray):
        raise TypeError(f"an image must be {wanted}, got {type(image).__name__}")
    if image.dtype != np.uint8:
        raise ValueError(f"an image must be {wanted}, got {image.dtype}, {image.shape}")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"an image must be {wanted}, got shape {image.shape}")


def _label_tensor(target: object) -> Tensor:
    if not isinstance(target, (np.ndarray, Tensor)):
        raise TypeError(
            f"target must be a label file or a map (H, W) of integers, got {type(target).__name__}"
        )
    if target.ndim != 2:
        raise ValueError(f"target must be a map (H, W) of classes, got shape {tuple(target.shape)}")
    labels = target.cpu().numpy() if isinstance(target, Tensor) else target
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"target must hold integers, got {target.dtype}")
    # A copy: figures are computed when they are asked for.
    return torch.from_numpy(np.array(labels, dtype=np.int64))
