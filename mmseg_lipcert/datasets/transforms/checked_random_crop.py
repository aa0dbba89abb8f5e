"""Crop an image; one that is too small is named."""

from mmseg.datasets.transforms import RandomCrop
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CheckedRandomCrop(RandomCrop):
    """:class:`mmseg.datasets.transforms.RandomCrop` that never gives a smaller crop than asked for.

    The stock transform passes small images on as they are. Arguments and results are those of the
    base class.

    Raises:
        ValueError: If the image is smaller than the crop; the message names it.
    """

    def transform(self, results: dict) -> dict:
        """Crop ``results['img']`` (H, W, 3), and ``results['gt_seg_map']`` if there is one."""
        size, crop = results["img"].shape[:2], self.crop_size
        if size[0] < crop[0] or size[1] < crop[1]:
            raise ValueError(
                f"image {results.get('img_path')} is {size[0]}x{size[1]} where it is cropped, "
                f"smaller than the crop of {crop[0]}x{crop[1]}: take smaller crops or larger images"
            )
        return super().transform(results)
