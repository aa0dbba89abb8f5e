"""Registered 1-Lipschitz networks, their losses, and the segmentors that certify."""

from . import backbones, decode_heads, layers, losses, segmentors

__all__ = ["backbones", "decode_heads", "layers", "losses", "segmentors"]
