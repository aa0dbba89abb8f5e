"""1-Lipschitz backbones."""

from .lip_encoder import LipEncoder
from .lip_net_encoder import LipNetEncoder
from .lip_shift_unet import LipShiftUNet
from .lip_unet import LipUNet

__all__ = ["LipEncoder", "LipNetEncoder", "LipShiftUNet", "LipUNet"]
