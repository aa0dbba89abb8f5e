"""1-Lipschitz decode heads; they give logits at full resolution without interpolation."""

from .lip_aspp_head import LipASPPHead
from .lip_decode_head import LipDecodeHead
from .lip_detection_head import LipDetectionHead
from .lip_fcn_head import LipFCNHead
from .lip_net_head import LipNetHead

__all__ = ["LipASPPHead", "LipDecodeHead", "LipDetectionHead", "LipFCNHead", "LipNetHead"]
