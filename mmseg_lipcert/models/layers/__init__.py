"""1-Lipschitz layers, registered for use as ``conv_cfg``, ``norm_cfg`` and ``act_cfg``."""

from .aoc_conv2d import AOCConv2d
from .aoc_conv_transpose2d import AOCConvTranspose2d
from .batch_centering2d import BatchCentering2d
from .class_major_conv2d import ClassMajorConv2d
from .folding import fold_network
from .layer_factory import LayerFactory
from .max_min import MaxMin
from .orthogonal_layer import OrthogonalLayer
from .rolled_stage import RolledStage
from .sll_block import SLLBlock

__all__ = [
    "AOCConv2d",
    "AOCConvTranspose2d",
    "BatchCentering2d",
    "ClassMajorConv2d",
    "LayerFactory",
    "MaxMin",
    "OrthogonalLayer",
    "RolledStage",
    "SLLBlock",
    "fold_network",
]
