from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import Any

from mmcv.transforms import Compose
from mmseg.datasets import BaseSegDataset
from torch.utils.data import Dataset

from ..utils.image_name import check_unique, image_name
from .certification_error import CertificationError
from .run_settings import data_digest


class ImageList(Dataset):
    """Images of a test dataset by name, as they enter a model; their samples carry the name.

    Args:
        dataset: The test dataset.
        pipeline: Transforms that read an image, as configs. Defaults to None: the dataset's.
        every: Take every k-th image of the dataset. Defaults to 1.
        limit: Take at most so many of them. Defaults to None.

    Raises:
        CertificationError: If the dataset is of another kind, or two images have one name.
    """

    def __init__(
        self,
        dataset: BaseSegDataset,
        pipeline: Sequence[dict] | None = None,
        every: int = 1,
        limit: int | None = None,
    ) -> None:
        if not isinstance(dataset, BaseSegDataset):
            raise CertificationError(
                f"a {type(dataset).__name__} cannot be certified: images are named by the folder "
                "of one dataset; certify its datasets one by one"
            )
        self.dataset = dataset
        self.pipeline = dataset.pipeline if pipeline is None else Compose(list(pipeline))
        root = dataset.data_prefix.get("img_path")
        indices = range(0, len(dataset), every)[:limit]
        paths = {i: dataset.get_data_info(i)["img_path"] for i in indices}
        named = {i: image_name(path, root) for i, path in paths.items()}
        try:
            check_unique({paths[i]: name for i, name in named.items()})
        except ValueError as error:
            raise CertificationError(str(error)) from error
        self._indices = {name: i for i, name in named.items()}

    @property
    def names(self) -> list[str]:
        """Names of the images, in the order of the dataset."""
        return list(self._indices)

    def without(self, names: Collection[str]) -> ImageList:
        """The same without some images."""
        rest = copy.copy(self)
        rest._indices = {name: i for name, i in self._indices.items() if name not in names}
        return rest

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Input and sample of an image by its number."""
        return self.read(self.names[number])

    def read(self, name: str) -> dict[str, Any]:
        """Input and sample of an image by its name.

        Raises:
            CertificationError: If the pipeline gives none.
        """
        data = self.pipeline(self.info(name))
        if data is None:
            raise CertificationError(
                f"{self.info(name)['img_path']}: the test pipeline gives no image"
            )
        data["data_samples"].set_metainfo(dict(image_name=name))
        return data

    def info(self, name: str) -> dict[str, Any]:
        """What the dataset knows of an image: ``img_path``, ``seg_map_path`` and more."""
        return self.dataset.get_data_info(self._indices[name])

    def digest(self, name: str) -> str:
        """SHA-256 of an image file and its label file."""
        info = self.info(name)
        return data_digest(info["img_path"], info.get("seg_map_path"), self.dataset.backend_args)
