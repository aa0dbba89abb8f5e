"""Data transforms: noise for training, and loading whose errors name the file at fault."""

from mmseg_lipcert.datasets.transforms.add_gaussian_noise import AddGaussianNoise
from mmseg_lipcert.datasets.transforms.check_labels import CheckLabels
from mmseg_lipcert.datasets.transforms.checked_random_crop import CheckedRandomCrop
from mmseg_lipcert.datasets.transforms.denoise import Denoise
from mmseg_lipcert.datasets.transforms.load_checked_annotations import LoadCheckedAnnotations
from mmseg_lipcert.datasets.transforms.load_checked_image import LoadCheckedImage

__all__ = [
    "AddGaussianNoise",
    "CheckLabels",
    "CheckedRandomCrop",
    "Denoise",
    "LoadCheckedAnnotations",
    "LoadCheckedImage",
]
