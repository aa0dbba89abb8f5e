"""Denoisers in front of a smoothed segmentor, and the model that trains one."""

from .base_denoiser import BaseDenoiser
from .denoising_diffusion import DenoisingDiffusion
from .diffusers_denoiser import DiffusersDenoiser
from .dncnn_denoiser import DnCNNDenoiser
from .ffdnet_denoiser import FFDNetDenoiser
from .non_local_means_denoiser import NonLocalMeansDenoiser
from .onnx_denoiser import OnnxDenoiser

__all__ = [
    "BaseDenoiser",
    "DenoisingDiffusion",
    "DiffusersDenoiser",
    "DnCNNDenoiser",
    "FFDNetDenoiser",
    "NonLocalMeansDenoiser",
    "OnnxDenoiser",
]
