"""Data transforms whose errors name the file at fault."""

from mmseg_lipcert.datasets.transforms.check_labels import CheckLabels
from mmseg_lipcert.datasets.transforms.load_checked_annotations import LoadCheckedAnnotations
from mmseg_lipcert.datasets.transforms.load_checked_image import LoadCheckedImage

__all__ = ["CheckLabels", "LoadCheckedAnnotations", "LoadCheckedImage"]
