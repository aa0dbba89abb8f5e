"""1-Lipschitz backbones."""

from .lip_encoder import LipEncoder
from .lip_unet import LipUNet

__all__ = ["LipEncoder", "LipUNet"]
