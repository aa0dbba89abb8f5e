from __future__ import annotations

import os

from mmseg.registry import MODELS
from torch import nn

from ..foreign import ExportedNetwork
from .foreign_segmentor import ForeignSegmentor


@MODELS.register_module()
class ExportedSegmentor(ForeignSegmentor):
    """A segmentor in a ``.pt2`` file of ``torch.export``; attacks can follow its gradients.

    Args:
        path: The file.
        num_classes: Of the dataset.
        data_preprocessor: As for every segmentor.
        **kwargs: Of :class:`ForeignSegmentor`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        num_classes: int,
        data_preprocessor: dict | nn.Module,
        **kwargs,
    ) -> None:
        super().__init__(ExportedNetwork(path), num_classes, data_preprocessor, **kwargs)
