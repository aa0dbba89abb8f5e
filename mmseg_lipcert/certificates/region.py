"""Connected regions: what is asked about them, and the certificate of one."""

from collections.abc import Sequence
from dataclasses import dataclass

from .validation import check_share


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


@dataclass(frozen=True)
class RegionQuery:
    """Which objects an entry certifies against vanishing, and which classes against invention.

    Attributes:
        vanish_share: Share of a component's pixels, in (0, 1], whose loss counts as vanishing.
        min_pixels: Smaller components are left out.
        fabricate_classes: Classes whose invention is certified.
        fabricate_pixels: Number of new pixels that counts as an invention.

    Raises:
        ValueError: If a value is out of range, naming it.
    """

    vanish_share: float = 0.9
    min_pixels: int = 50
    fabricate_classes: Sequence[int] = ()
    fabricate_pixels: int = 200

    def __post_init__(self) -> None:
        check_share(self.vanish_share, "vanish_share")
        for name in ("min_pixels", "fabricate_pixels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
