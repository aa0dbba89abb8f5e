"""Data transforms: noise, light and denoising for training, and loading whose errors name files."""

from .add_gaussian_noise import AddGaussianNoise
from .check_labels import CheckLabels
from .checked_random_crop import CheckedRandomCrop
from .denoise import Denoise
from .load_checked_annotations import LoadCheckedAnnotations
from .load_checked_image import LoadCheckedImage
from .random_exposure import RandomExposure

__all__ = [
    "AddGaussianNoise",
    "CheckLabels",
    "CheckedRandomCrop",
    "Denoise",
    "LoadCheckedAnnotations",
    "LoadCheckedImage",
    "RandomExposure",
]
