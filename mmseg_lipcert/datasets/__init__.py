"""Datasets, data transforms and the generator of street scenes."""

from .camvid import CamVidDataset
from .kvasir_seg import KvasirSegDataset
from .oxford_pets import OxfordPetBreedsDataset, OxfordPetsDataset
from .street_scenes import generate_street_scene, write_street_scenes
from .transforms import (
    AddGaussianNoise,
    CheckedRandomCrop,
    CheckLabels,
    Denoise,
    LoadCheckedAnnotations,
    LoadCheckedImage,
)

__all__ = [
    "AddGaussianNoise",
    "CamVidDataset",
    "CheckLabels",
    "CheckedRandomCrop",
    "Denoise",
    "KvasirSegDataset",
    "LoadCheckedAnnotations",
    "LoadCheckedImage",
    "OxfordPetBreedsDataset",
    "OxfordPetsDataset",
    "generate_street_scene",
    "write_street_scenes",
]
