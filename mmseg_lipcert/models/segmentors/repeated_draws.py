from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...utils.user_error import UserError

# Share of the pixels whose label may change when a draw is repeated: two logits that tie up to
# rounding, where a GPU adds in any order. More means that draws are not independent.
_TIES = 1e-4

# Share of all draws that repetitions may make up, but for the first one.
_SHARE = 0.015

# Labels of draws of a stage that share a forward pass; None stands for a black image.
Run = Callable[[str, Sequence[int | None]], Tensor]


class DependentDrawsError(UserError, ValueError):
    """Draws influence each other, or the base classifier remembers what it has seen."""


@dataclass
class _Batch:
    """Draws that shared a forward pass, and the labels they had."""

    stage: str
    indices: Sequence[int]
    labels: Tensor


class RepeatedDraws:
    """Repeats draws and compares: a label map must depend on its own noise and on nothing else.

    The binomial test needs independent draws. A base classifier breaks this if the images of a
    batch influence each other, or if it keeps a state between calls. So all draws of a batch are
    repeated after later draws, each at another place of its batch and with half of the other images
    replaced by black ones, and one draw is repeated at the end of the run.

    The first image is always looked at; after that as many as 1.5% of all draws pay for.
    """

    def __init__(self) -> None:
        self._drawn = 0
        self._repeated = 0
        self._batch: _Batch | None = None
        self._planned: str | None = None
        # What it takes to repeat a draw at the end of the run, and the draws up to it.
        self._first: tuple[_Batch, Any] | None = None
        self._drawn_at_last_look = 0

    def plan(self, sizes: Mapping[str, int], draws: int) -> None:
        """Choose the stage of the next image whose first batch is repeated, if any.

        Args:
            sizes: Draws per forward pass of each stage.
            draws: Draws of the image.
        """
        self._drawn += draws
        self._batch = self._planned = None
        if not self._repeated:
            shared = {stage: size for stage, size in sizes.items() if size > 1} or sizes
            self._planned = min(shared, key=shared.get)
            return
        stage = max(sizes, key=sizes.get)
        if self._repeated + 2 * sizes[stage] <= _SHARE * self._drawn:
            self._planned = stage

    def keep(self, stage: str, indices: Sequence[int], labels: Tensor) -> None:
        """Keep a batch (B, H, W) if it is the one to be repeated."""
        if stage == self._planned and self._batch is None:
            self._batch = _Batch(stage, tuple(indices), labels)

    def repeat(self, run: Run, image: Any) -> None:
        """Repeat the batch that was kept, behind the other draws of its image.

        Args:
            run: Runs draws of this image.
            image: What :meth:`finish` needs to run draws of this image again.

        Raises:
            DependentDrawsError: If labels have changed.
        """
        if self._batch is None:
            return
        batch, self._batch = self._batch, None
        size = len(batch.indices)
        for half in range(2):
            # Rolled by one: every image has another place and another neighbor.
            rolled = [place - 1 for place in range(size)]
            kept = [place for place in range(size) if size == 1 or place % 2 == half]
            mixed = [batch.indices[rolled[p]] if p in kept else None for p in range(size)]
            labels = run(batch.stage, mixed)
            self._repeated += size
            changed = max(_share(labels[p], batch.labels[rolled[p]]) for p in kept)
            if changed > _TIES:
                # As it was, with a call more in between: what changes was remembered.
                again = [run(batch.stage, batch.indices) for _ in range(2)]
                run(batch.stage, batch.indices[:1])
                again.append(run(batch.stage, batch.indices))
                same = all(_share(labels, batch.labels) <= _TIES for labels in again)
                raise DependentDrawsError(
                    _coupled(changed) if size > 1 and same else _stateful(changed)
                )
        self._drawn_at_last_look = self._drawn
        if self._first is None:
            only = _Batch(batch.stage, batch.indices, batch.labels.cpu())
            self._first = only, image

    def finish(self, run_on: Callable[[Any], Run]) -> None:
        """Repeat a draw of the first image after all others of this process.

        Args:
            run_on: What runs draws of an image, as it was given to :meth:`repeat`.

        Raises:
            DependentDrawsError: If labels have changed.
        """
        if self._first is None or self._drawn == self._drawn_at_last_look:
            return
        batch, image = self._first
        labels = run_on(image)(batch.stage, batch.indices)
        changed = _share(labels, batch.labels.to(labels.device))
        if changed > _TIES:
            raise DependentDrawsError(_stateful(changed))


def _share(labels: Tensor, others: Tensor) -> float:
    return (labels != others).float().mean().item()


def _coupled(share: float) -> str:
    return (
        f"{100 * share:.1f}% of the labels of a draw depend on the others in its batch, so that "
        "the draws are not independent: set draws_per_batch=1"
    )


def _stateful(share: float) -> str:
    return (
        f"{100 * share:.1f}% of the labels of a draw changed when it was repeated with the same "
        "noise: the segmentor or the denoiser keeps a state between calls, or draws random numbers "
        "from a generator of its own instead of the global ones of torch, numpy and random; its "
        "draws are not independent, and nothing can be certified"
    )
