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

    Args:
        img_suffix: Suffix of the images. Defaults to ``'.jpg'``.
        seg_map_suffix: Suffix of the label files. Defaults to ``'.png'``.
        **kwargs: Passed on to :class:`mmseg.datasets.BaseSegDataset`.
    """

    METAINFO: ClassVar[dict] = dict(
        classes=("background", "polyp"), palette=[[0, 0, 0], [220, 20, 60]]
    )

    def __init__(
        self, img_suffix: str = ".jpg", seg_map_suffix: str = ".png", **kwargs: object
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
