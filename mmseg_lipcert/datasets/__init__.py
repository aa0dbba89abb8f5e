"""Datasets, data transforms and the generator of street scenes."""

from mmseg_lipcert.datasets.camvid import CamVidDataset
from mmseg_lipcert.datasets.kvasir_seg import KvasirSegDataset
from mmseg_lipcert.datasets.street_scenes import generate_street_scene, write_street_scenes
from mmseg_lipcert.datasets.transforms import (
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
    "generate_street_scene",
    "write_street_scenes",
]
