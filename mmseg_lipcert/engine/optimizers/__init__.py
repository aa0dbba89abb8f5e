"""Optimizers of 1-Lipschitz networks."""

from .muon_adam import MuonAdam

__all__ = ["MuonAdam"]
