"""Kvasir-SEG: polyps in images of the colon."""

from typing import ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class KvasirSegDataset(BaseSegDataset):
    """Kvasir-SEG, 1000 images of 332x487 to 1920x1072 pixels, background and polyp.

    Labels are single-channel PNG files with ids 0 and 1, as
    ``lipcert kvasir-seg`` makes them of the published JPEG masks.

    Source: Jha et al., "Kvasir-SEG: A Segmented Polyp Dataset", MMM 2020.
    """

    METAINFO: ClassVar[dict] = dict(
        classes=("background", "polyp"), palette=[[0, 0, 0], [220, 20, 60]]
    )
