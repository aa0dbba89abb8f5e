"""Networks in files of other programs, as maps from tensors to a tensor."""

from .exported_network import ExportedNetwork
from .foreign_network import ForeignNetwork
from .onnx_network import OnnxNetwork

__all__ = ["ExportedNetwork", "ForeignNetwork", "OnnxNetwork"]
