"""Noise, votes and classes of randomized smoothing: tensors in, counts out."""

from .class_hierarchy import HIERARCHIES, ClassHierarchy
from .draw_randomness import DrawRandomness
from .noise import draw_generator, draw_noise, noise_stream, spawn_generators
from .votes import ClassVotes, HitCounter

__all__ = [
    "HIERARCHIES",
    "ClassHierarchy",
    "ClassVotes",
    "DrawRandomness",
    "HitCounter",
    "draw_generator",
    "draw_noise",
    "noise_stream",
    "spawn_generators",
]
