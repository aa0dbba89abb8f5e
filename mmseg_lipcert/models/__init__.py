"""Registered models: 1-Lipschitz networks, their losses, denoisers, segmentors that certify."""

from . import backbones, decode_heads, denoisers, foreign, layers, losses, segmentors

__all__ = ["backbones", "decode_heads", "denoisers", "foreign", "layers", "losses", "segmentors"]
