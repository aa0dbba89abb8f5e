"""Load a label map; an unreadable one is named."""

from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

from .naming import name_unreadable


@TRANSFORMS.register_module()
class LoadCheckedAnnotations(LoadAnnotations):
    """:class:`mmseg.datasets.transforms.LoadAnnotations` whose errors name the file.

    Arguments and results are those of the base class.

    Raises:
        ValueError: If the file is not an image or is damaged; the message names it.
        FileNotFoundError: If there is no such file.
    """

    def transform(self, results: dict) -> dict:
        """Load ``results['seg_map_path']`` into ``results['gt_seg_map']``, (H, W) uint8."""
        with name_unreadable(results["seg_map_path"], "label file"):
            return super().transform(results)
