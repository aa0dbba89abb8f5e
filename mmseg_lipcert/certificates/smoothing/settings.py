from dataclasses import dataclass

from .binomial import (
    check_alpha,
    check_draws,
    check_tau,
    draws_for_level,
    plateau_start,
    smoothing_radius,
)
from .corrections import PIXEL_CORRECTIONS
from .metric_level import METRIC_EVENTS, TOLERANCE


@dataclass(frozen=True)
class SmoothingSettings:
    """What a smoothed certificate claims, fixed before anything is drawn.

    Args:
        sigma: Standard deviation of the noise, images in [0, 1].
        n0: Draws of the first stage, which selects the labels.
        n: Draws of the second stage, which tests them.
        alpha: Probability that a certificate fails, shared by all of ``taus``; in (0, 1).
        taus: Probabilities claimed, in [0.5, 1), one row of the results each.
        correction: ``"holm"``, ``"bonferroni"``, ``"k-fwer"`` (fewer than k pixels of an image are
            wrong) or ``"metric"`` (metrics instead of pixels, see ``metric_level_bound``).
        k: Wrong pixels per image that ``"k-fwer"`` must not reach; 1 for the others.

    Raises:
        ValueError: If a value is out of range, naming it.
    """

    sigma: float
    n0: int
    n: int
    alpha: float
    taus: tuple[float, ...]
    correction: str = "holm"
    k: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "taus", tuple(check_tau(tau) for tau in self.taus))
        if not self.taus or len(set(self.taus)) < len(self.taus):
            raise ValueError(f"taus must be one or more different values, got {self.taus}")
        smoothing_radius(self.sigma, self.taus[0])
        check_draws(self.n0, "n0")
        check_draws(self.n, "n")
        check_alpha(self.alpha)
        if self.correction not in (*PIXEL_CORRECTIONS, "metric"):
            raise ValueError(
                f"correction must be one of {(*PIXEL_CORRECTIONS, 'metric')}, "
                f"got {self.correction!r}"
            )
        check_draws(self.k, "k")
        if self.k > 1 and self.correction != "k-fwer":
            raise ValueError(f"k must be 1 unless correction='k-fwer', got {self.k}")

    @property
    def radii(self) -> tuple[float, ...]:
        """Radius of every tau, l2, images in [0, 1]."""
        return tuple(smoothing_radius(self.sigma, tau) for tau in self.taus)

    @property
    def alpha_per_tau(self) -> float:
        """Probability of failure that each tau may use."""
        return self.alpha / len(self.taus)

    @property
    def alpha_per_event(self) -> float:
        """Probability of failure of each event from which the figures of a tau follow."""
        return self.alpha_per_tau / (METRIC_EVENTS if self.correction == "metric" else 1)

    def level(self, tested: int) -> float:
        """P-value that certifies a pixel whatever the others do.

        Args:
            tested: Number of pixels tested together.
        """
        if self.correction == "metric":
            return self.alpha_per_event * TOLERANCE
        return min(self.k, tested) * self.alpha_per_tau / tested

    def plateau_start(self, tested: int) -> int:
        """Smallest number of draws that allows as many misses as ``n`` does, at every tau.

        That is at the level of a pixel whatever the others do. Holm's later levels are higher, and
        their plateaus begin earlier.

        Args:
            tested: Number of pixels tested together.
        """
        return max(plateau_start(self.n, tau, self.level(tested)) for tau in self.taus)

    def check_floor(self, tested: int) -> None:
        """Refuse numbers of draws with which nothing can ever be certified.

        Args:
            tested: Number of pixels tested together.

        Raises:
            ValueError: Naming the number of draws that suffices.
        """
        for tau in self.taus:
            needed = draws_for_level(self.level(tested), tau)
            if needed > self.n:
                raise ValueError(
                    f"n={self.n} draws can certify none of {tested} pixels at tau={tau}, "
                    f"alpha={self.alpha_per_tau:g} with correction={self.correction!r}: "
                    f"n must be at least {needed}"
                )
