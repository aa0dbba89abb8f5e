"""Load an image; an unreadable one is named."""

from mmcv.transforms import LoadImageFromFile
from mmseg.registry import TRANSFORMS

from .naming import name_unreadable


@TRANSFORMS.register_module()
class LoadCheckedImage(LoadImageFromFile):
    """:class:`mmcv.transforms.LoadImageFromFile` whose errors name the file.

    The stock transform leaves decoding errors without a file name (an empty file is an assertion
    inside OpenCV). Arguments and results are those of the base class.

    Raises:
        ValueError: If the file is not an image or is damaged; the message names it.
        FileNotFoundError: If there is no such file.
    """

    def transform(self, results: dict) -> dict | None:
        """Load ``results['img_path']`` into ``results['img']``, (H, W, 3) uint8 BGR."""
        with name_unreadable(results["img_path"], "image"):
            return super().transform(results)
