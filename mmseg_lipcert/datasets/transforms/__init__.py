"""Data transforms: noise, light, mixing and denoising for training; loading that names files."""

from .add_gaussian_noise import AddGaussianNoise
from .check_labels import CheckLabels
from .checked_random_crop import CheckedRandomCrop
from .class_mix import ClassMix
from .denoise import Denoise
from .load_checked_annotations import LoadCheckedAnnotations
from .load_checked_image import LoadCheckedImage
from .random_exposure import RandomExposure

__all__ = [
    "AddGaussianNoise",
    "CheckLabels",
    "CheckedRandomCrop",
    "ClassMix",
    "Denoise",
    "LoadCheckedAnnotations",
    "LoadCheckedImage",
    "RandomExposure",
]
