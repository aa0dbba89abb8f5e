from __future__ import annotations

import os
from collections.abc import Sequence

from mmseg.registry import MODELS
from torch import nn

from ..foreign import OnnxNetwork
from .foreign_segmentor import ForeignSegmentor


@MODELS.register_module()
class OnnxSegmentor(ForeignSegmentor):
    """A segmentor in an ONNX file.

    Args:
        path: The file.
        num_classes: Of the dataset.
        data_preprocessor: As for every segmentor.
        output_name: ``output`` of :class:`OnnxNetwork`.
        providers: Of :class:`OnnxNetwork`.
        threads: Of :class:`OnnxNetwork`.
        **kwargs: Of :class:`ForeignSegmentor`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        num_classes: int,
        data_preprocessor: dict | nn.Module,
        output_name: str | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        threads: int | None = None,
        **kwargs,
    ) -> None:
        network = OnnxNetwork(path, output_name, providers, threads)
        super().__init__(network, num_classes, data_preprocessor, **kwargs)
