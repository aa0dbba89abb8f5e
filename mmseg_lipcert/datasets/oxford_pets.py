"""Oxford-IIIT Pets: cats and dogs of 37 breeds."""

from colorsys import hsv_to_rgb
from typing import ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

# As in the names of the images, in the order of the published class ids 1 to 37.
_BREEDS = (
    *("Abyssinian", "american_bulldog", "american_pit_bull_terrier", "basset_hound", "beagle"),
    *("Bengal", "Birman", "Bombay", "boxer", "British_Shorthair", "chihuahua", "Egyptian_Mau"),
    *("english_cocker_spaniel", "english_setter", "german_shorthaired", "great_pyrenees"),
    *("havanese", "japanese_chin", "keeshond", "leonberger", "Maine_Coon", "miniature_pinscher"),
    *("newfoundland", "Persian", "pomeranian", "pug", "Ragdoll", "Russian_Blue", "saint_bernard"),
    *("samoyed", "scottish_terrier", "shiba_inu", "Siamese", "Sphynx"),
    *("staffordshire_bull_terrier", "wheaten_terrier", "yorkshire_terrier"),
)


@DATASETS.register_module()
class OxfordPetsDataset(BaseSegDataset):
    """Oxford-IIIT Pets, 3680 images for training and 3669 for testing, background and pet.

    Labels are single-channel PNG files with ids 0 and 1 and border = 255, as
    ``lipcert oxford-pets`` makes them of the published trimaps.

    Source: Parkhi, Vedaldi, Zisserman and Jawahar, "Cats and Dogs", CVPR 2012.
    """

    METAINFO: ClassVar[dict] = dict(
        classes=("background", "pet"), palette=[[0, 0, 0], [220, 20, 60]]
    )


@DATASETS.register_module()
class OxfordPetBreedsDataset(BaseSegDataset):
    """The same images with background and 37 breeds, as ``lipcert oxford-pets --breeds`` makes it.

    Id 0 is background, ids 1 to 37 are those of the publication.
    """

    METAINFO: ClassVar[dict] = dict(
        classes=("background", *_BREEDS),
        # As many hues as breeds.
        palette=[
            [0, 0, 0],
            *(
                [round(255 * part) for part in hsv_to_rgb(breed / len(_BREEDS), 0.8, 0.9)]
                for breed in range(len(_BREEDS))
            ),
        ],
    )
