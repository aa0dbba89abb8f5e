"""Noise, votes and classes of randomized smoothing: tensors in, counts out."""

from .class_hierarchy import HIERARCHIES, ClassHierarchy
from .noise import draw_generator, draw_noise
from .votes import ClassVotes, HitCounter

__all__ = [
    "HIERARCHIES",
    "ClassHierarchy",
    "ClassVotes",
    "HitCounter",
    "draw_generator",
    "draw_noise",
]
