import numpy as np
import pytest
from mmseg.registry import TRANSFORMS


def crop(size, crop_size):
    transform = TRANSFORMS.build(dict(type="CheckedRandomCrop", crop_size=crop_size))
    return transform(dict(img=np.arange(size[0] * size[1]).reshape(size), img_path="folder/a.png"))


@pytest.mark.parametrize("size", [(4, 6), (9, 7)])
def test_crops_have_the_size_that_was_asked_for(size, mmseg_scope):
    image = crop(size, (4, 6))["img"]
    assert image.shape == (4, 6)
    # Neighbors in the crop are neighbors in the image.
    assert (np.diff(image, axis=1) == 1).all() and (np.diff(image, axis=0) == size[1]).all()


@pytest.mark.parametrize("size", [(3, 9), (9, 5)])
def test_a_smaller_image_is_named(size, mmseg_scope):
    message = f"image folder/a.png is {size[0]}x{size[1]} .*smaller than the crop of 4x6"
    with pytest.raises(ValueError, match=message):
        crop(size, (4, 6))
