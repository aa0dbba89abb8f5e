"""Networks in files of other programs, as maps from tensors to a tensor."""

from .foreign_network import ForeignNetwork
from .onnx_network import OnnxNetwork

__all__ = ["ForeignNetwork", "OnnxNetwork"]
