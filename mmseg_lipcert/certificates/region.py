"""The certificate of one connected region."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """One connected component of a label map, and what it takes to erase a share of it.

    Attributes:
        number: Its number in the component map, from 1.
        class_index: Its class.
        pixels: Its area.
        box: Top, left, bottom and right; the last two exclusive.
        detected: Its pixels that are predicted as its class.
        budget: Smallest joint change (l2) of the logits that erases the share; 0 when so many
            pixels are missed already, infinite when no change suffices.
        radius: ``budget`` in [0, 1] units of the image: no smaller perturbation erases the share.
    """

    number: int
    class_index: int
    pixels: int
    box: tuple[int, int, int, int]
    detected: int
    budget: float
    radius: float
