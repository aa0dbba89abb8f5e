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
    """Which objects an entry certifies against vanishing and against being invented.

    Attributes:
        vanish_share: Share of a component's pixels, in (0, 1], whose loss counts as vanishing.
        min_pixels: Smaller components are left out.
        object_classes: Classes whose objects matter: their detection rate and their false alarms
            are certified.
        fabricate_pixels: Pixels of a component that is a false alarm; smaller ones are none.
        fabricate_distance: Pixels around the labels of a class that are no false alarm of it.

    Raises:
        ValueError: If a value is out of range, naming it.
    """

    vanish_share: float = 0.9
    min_pixels: int = 50
    object_classes: Sequence[int] = ()
    fabricate_pixels: int = 200
    fabricate_distance: int = 10

    def __post_init__(self) -> None:
        check_share(self.vanish_share, "vanish_share")
        for name in ("min_pixels", "fabricate_pixels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.fabricate_distance < 0:
            raise ValueError(
                f"fabricate_distance must be at least 0, got {self.fabricate_distance}"
            )
