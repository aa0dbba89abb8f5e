"""What is asked about the regions of every image of a dataset."""

from collections.abc import Sequence
from dataclasses import dataclass

from .validation import check_share


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
