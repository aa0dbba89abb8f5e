from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce, broadcast_object_list, get_dist_info
from mmengine.logging import MMLogger
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ...certificates.smoothing import (
    HIERARCHIES,
    ClassHierarchy,
    ClassVotes,
    HitCounter,
)
from ...certificates.smoothing.binomial import check_draws
from ...utils.image_name import image_name
from .attention import skip_attention_weights
from .base_classifier import BaseClassifier
from .draw_runner import DrawRunner
from .repeated_draws import DependentDrawsError, RepeatedDraws

# Seconds between two lines of progress within an image.
_PROGRESS = 30.0

# Pixels of an image, at least, whose forward pass is worth timing.
_SMALLEST_TIMED = 2**16


@MODELS.register_module()
class SmoothedSegmentor(BaseTTAModel):
    r"""Any segmentor under Gaussian noise: classes chosen and tested on independent draws.

    The base classifier is ``h(x) = segmentor(scale(transforms(denoise(x))))``; the smoothed one
    predicts at each pixel the most probable class of ``h(x + N(0, sigma^2 I))``. The first ``n0``
    draws choose a class per pixel, ``n`` fresh draws count how often it is predicted
    (Fischer et al., "Scalable Certified Segmentation via Randomized Smoothing", 2021).

    The noise is added in float32 to the image as the dataset gives it, before the segmentor's own
    preprocessing, and is neither clipped nor rounded. It depends on seed, image and number of the
    draw only (:func:`mmseg_lipcert.certificates.smoothing.draw_noise`), and so does whatever
    segmentor and denoiser draw from the global random generators
    (:class:`mmseg_lipcert.certificates.smoothing.DrawRandomness`); those that do so get one draw
    per forward pass. The segmentor is called as it is: whole or sliding windows, any decode head,
    its own normalization and padding. Draws are repeated to see that they are independent
    (:class:`RepeatedDraws`).

    Args:
        module: The segmentor; checkpoints of it load into this model.
        sigma: Standard deviation of the noise, images in [0, 1]. Defaults to 0.25.
        n0: Draws that choose. Defaults to 10.
        n: Draws that test. Defaults to 100.
        noise_at: ``'original'``: image at its original size, the resizing of the test pipeline runs
            behind the noise; ``'network'``: image as the test pipeline leaves it, to which radii
            then refer. Defaults to ``'original'``.
        draws_per_batch: Draws per forward pass. Defaults to None: as many as fit.
        denoiser: Denoises each draw. Defaults to None.
        scale: Size of the segmentor's input relative to the denoised image as the test pipeline
            resizes it. Defaults to None: 1.
        hierarchy: Groups of classes to fall back to where the first draws disagree; a name of
            ``HIERARCHIES`` or arguments of :class:`ClassHierarchy`. Defaults to None.
        seed: Seed of the noise. Defaults to 0.
        shard_draws: Whether processes share the draws of each image instead of the images. Defaults
            to False.
        autocast: ``'bfloat16'`` or ``'float16'`` in the segmentor, in all draws alike; a denoiser
            has a ``dtype`` of its own. Defaults to None: float32.
        channels_last: Memory layout of the segmentor's weights. Defaults to None: what is faster at
            the first image, unless the segmentor is compiled.
        compile: Compile the segmentor with ``torch.compile``, or in one of its modes:
            ``'reduce-overhead'`` records CUDA graphs. Defaults to False.
        budget: Seconds of the whole run, from which a certification chooses n. Defaults to None: n
            as given.
        data_preprocessor: Of the segmentor, if it has none of its own.
        pretrained: Ignored; ``mmseg.apis.init_model`` writes it into every model.
        train_cfg: Ignored, likewise.
        test_cfg: Ignored, likewise.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        module: dict | nn.Module,
        sigma: float = 0.25,
        n0: int = 10,
        n: int = 100,
        noise_at: str = "original",
        draws_per_batch: int | None = None,
        denoiser: dict | nn.Module | None = None,
        scale: float | None = None,
        hierarchy: str | dict | ClassHierarchy | None = None,
        seed: int = 0,
        shard_draws: bool = False,
        autocast: str | None = None,
        channels_last: bool | None = None,
        compile: bool | str = False,
        budget: float | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        pretrained: None = None,
        train_cfg: None = None,
        test_cfg: None = None,
    ) -> None:
        if isinstance(module, dict) and module.get("data_preprocessor") is not None:
            data_preprocessor = None
        super().__init__(module, data_preprocessor)
        if isinstance(self.module, BaseTTAModel):
            raise ValueError(
                f"module is a {type(self.module).__name__}: smooth the segmentor itself, "
                "without test-time augmentation"
            )
        for name, value in dict(sigma=sigma, scale=scale, budget=budget).items():
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a positive number, got {value}")
        for name, value in dict(n0=n0, n=n, draws_per_batch=draws_per_batch).items():
            if value is not None:
                check_draws(value, name)
        if scale is not None and not 0.01 <= scale <= 100:
            raise ValueError(f"scale must be from 0.01 to 100, got {scale}")
        if noise_at not in ("original", "network"):
            raise ValueError(f"noise_at must be 'original' or 'network', got {noise_at!r}")
        if autocast not in (None, "bfloat16", "float16"):
            raise ValueError(f"autocast must be 'bfloat16' or 'float16', got {autocast!r}")
        self.sigma, self.n0, self.n, self.seed = float(sigma), n0, n, seed
        self.noise_at, self.scale = noise_at, scale
        self.draws_per_batch = draws_per_batch
        self.shard_draws = shard_draws
        self.autocast = autocast
        self.budget = budget
        self.denoiser = MODELS.build(denoiser) if isinstance(denoiser, dict) else denoiser
        if isinstance(hierarchy, str):
            if hierarchy not in HIERARCHIES:
                raise ValueError(
                    f"hierarchy must be one of {sorted(HIERARCHIES)}, got {hierarchy!r}"
                )
            hierarchy = HIERARCHIES[hierarchy]
        self.hierarchy = ClassHierarchy(**hierarchy) if isinstance(hierarchy, dict) else hierarchy
        if self.hierarchy is not None and not isinstance(self.hierarchy, ClassHierarchy):
            raise ValueError(
                f"hierarchy must be one of {sorted(HIERARCHIES)} or the arguments of a "
                f"ClassHierarchy, got {hierarchy!r}"
            )
        if self.hierarchy is not None and self.hierarchy.num_classes != self.num_classes:
            raise ValueError(
                f"the hierarchy groups {self.hierarchy.num_classes} classes, the model has "
                f"{self.num_classes}"
            )
        #: Called with the reason when draws turn out not to be independent.
        self.void: Callable[[str], None] | None = None
        self._repeated = RepeatedDraws()
        self._random = False
        #: Transforms of the test pipeline that run behind the noise; the certification hook sets
        #: them.
        self.transforms: Sequence[dict] = ()
        skip_attention_weights(self.module)
        self._layout_chosen = channels_last is not None or bool(compile)
        if channels_last:
            self.module.to(memory_format=torch.channels_last)
        if compile:
            self._compile("default" if compile is True else compile)

    def _compile(self, mode: str) -> None:
        """Compile what computes: around it are samples, which no compiler understands."""
        if hasattr(self.module, "encode_decode"):
            self.module.encode_decode = torch.compile(self.module.encode_decode, mode=mode)
        else:
            self.module.compile(mode=mode)

    @property
    def num_classes(self) -> int:
        """Number of classes; 2 for a binary head."""
        return max(2, self.module.num_classes)

    @property
    def device(self) -> torch.device:
        """Where draws are made."""
        return next((part.device for part in self.module.parameters()), torch.device("cpu"))

    @property
    def forward_passes(self) -> int:
        """Forward passes of one image: choosing, testing, and one of the clean image."""
        return self.n0 + self.n + 1

    def merge_preds(self, data_samples_list: list) -> list:
        """Not used: draws are counted, never kept (see :meth:`test_step`)."""
        raise TypeError(
            "a SmoothedSegmentor counts its draws in test_step; there is nothing to merge"
        )

    @torch.no_grad()
    def test_step(self, data: dict[str, Any]) -> list[SegDataSample]:
        """Choose and test a class for every pixel of every image.

        Args:
            data: ``inputs``, uint8 images (3, H, W), and ``data_samples``, as the dataloader gives
                them.

        Returns:
            The samples, with ``smoothing_selected`` (1, H, W), chosen classes
            (vertices of the hierarchy, if there is one); ``smoothing_hits`` (1, H, W), how many of
            the n draws agreed; ``pred_sem_seg`` (1, H, W), chosen leaf classes;
            ``clean_prediction`` (1, H, W), the segmentor alone on the image without noise; and the
            metainfo ``smoothing``: sigma, n0, n, hierarchy, forward_passes and seconds_forward.

        Raises:
            DependentDrawsError: If draws influence each other or a state survives a call.
            ValueError: If an image is not uint8.
            RuntimeError: In training mode.
        """
        if any(part.training for part in self.modules()):
            raise RuntimeError("smoothing needs evaluation mode: call model.eval() first")
        return [
            self._smooth(image, sample)
            for image, sample in zip(data["inputs"], data["data_samples"], strict=True)
        ]

    @torch.no_grad()
    def seconds_per_draw(self, image: Tensor, sample: SegDataSample) -> float:
        """Measured seconds of a draw, as many per forward pass as in a run.

        Args:
            image: An image (3, H, W), uint8.
            sample: Its sample.
        """
        run = self._prepare(image, sample)
        batch = range(self._batch_size(run.image))
        for _ in range(2):  # the first time is slower
            started = time.perf_counter()
            run("budget", batch)
            if run.image.is_cuda:
                torch.cuda.synchronize()
        return (time.perf_counter() - started) / len(batch)

    @torch.no_grad()
    def finish(self) -> None:
        """Repeat draws of this process's first image behind all others.

        Raises:
            DependentDrawsError: If their labels have changed.
        """
        try:
            self._repeated.finish(lambda image: self._runner(*image))
        except DependentDrawsError as error:
            self._refuse(str(error))

    def train(self, mode: bool = True) -> SmoothedSegmentor:
        """Switch between training and evaluation; behind training draws are looked at anew."""
        if mode:
            self._repeated = RepeatedDraws()
        return super().train(mode)

    def _refuse(self, reason: str) -> None:
        if self.void is not None:
            self.void(reason)
        raise DependentDrawsError(reason)

    def _prepare(self, image: Tensor, sample: SegDataSample) -> DrawRunner:
        """What runs the draws of an image, in the memory layout that is faster."""
        if image.dtype != torch.uint8:
            raise ValueError(
                f"{sample.img_path}: noise is added to the uint8 image, got {image.dtype}; the "
                "test pipeline must not convert or normalize it"
            )
        name = sample.get("image_name") or image_name(sample.img_path)
        run = self._runner(image.to(self.device, torch.float32), sample, name)
        if not self._layout_chosen:
            self._choose_layout(run)
        return run

    def _smooth(self, image: Tensor, sample: SegDataSample) -> SegDataSample:
        started = time.perf_counter()
        run = self._prepare(image, sample)
        image, name = run.image, run.name
        clean = run.clean()
        self._random = run.random
        self._plan_repetition(image)
        try:
            votes = ClassVotes(self.num_classes, tuple(clean.shape), self.n0, image.device)
            for labels in self._draws(run, "select", self.n0):
                votes.add(labels)
            counts = votes.counts
            if self.shard_draws:
                votes.counts = counts = _sum_over_processes(counts)
            leaders = votes.leaders()
            selected = leaders if self.hierarchy is None else self.hierarchy.select(counts)
            counter = HitCounter(selected, self.hierarchy)
            for labels in self._draws(run, "estimate", self.n):
                counter.add(labels)
            self._repeated.repeat(run, (image, _without_data(sample), name))
        except DependentDrawsError as error:
            self._refuse(f"{name}: {error}")
        hits = _sum_over_processes(counter.hits) if self.shard_draws else counter.hits
        sample.set_data(
            {
                key: PixelData(data=value[None])
                for key, value in dict(
                    pred_sem_seg=leaders,
                    smoothing_selected=selected,
                    smoothing_hits=hits,
                    clean_prediction=clean,
                ).items()
            }
        )
        sample.set_metainfo(
            dict(
                smoothing=dict(
                    sigma=self.sigma,
                    n0=self.n0,
                    n=self.n,
                    hierarchy=self.hierarchy,
                    forward_passes=self.forward_passes,
                    seconds_forward=time.perf_counter() - started,
                )
            )
        )
        return sample

    def _runner(self, image: Tensor, sample: SegDataSample, name: str) -> DrawRunner:
        return DrawRunner(
            self.base_classifier, image, sample, name, self.seed, self.sigma, self._random
        )

    def _choose_layout(self, run: DrawRunner) -> None:
        """Keep the memory layout of the weights in which a forward pass is clearly faster."""
        self._layout_chosen = True
        convolves = any(isinstance(part, nn.Conv2d) for part in self.module.modules())
        if not convolves or run.image[0].numel() < _SMALLEST_TIMED:
            return
        layouts = dict(contiguous=torch.contiguous_format, channels_last=torch.channels_last)
        seconds = dict.fromkeys(layouts, math.inf)
        # The best of three counts: the first pass in a layout is slower.
        for name in 3 * [*layouts]:
            self.module.to(memory_format=layouts[name])
            started = time.perf_counter()
            run.clean()
            if run.image.is_cuda:
                torch.cuda.synchronize()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
        faster = seconds["channels_last"] < 0.95 * seconds["contiguous"]
        chosen = ["channels_last" if faster else "contiguous"]
        if self.shard_draws:
            # Layouts round differently, and all draws of an image must be of one map.
            broadcast_object_list(chosen)
        (name,) = chosen
        self.module.to(memory_format=layouts[name])
        MMLogger.get_current_instance().info(
            f"Memory layout of the segmentor: {name} ("
            + ", ".join(f"{key} {1000 * value:.0f} ms" for key, value in seconds.items())
            + " per forward pass)"
        )

    def _draws(self, run: DrawRunner, stage: str, count: int) -> Iterator[Tensor]:
        """Label maps (H, W) of this process's draws of a stage."""
        indices = self._share_of(count)
        started = reported = time.perf_counter()
        done = 0
        while done < len(indices):
            size = self._batch_size(run.image)
            batch = indices[done : done + size]
            run.prepare(stage, [*batch, *indices[done + size : done + 2 * size]])
            try:
                maps = run(stage, batch)
            except torch.cuda.OutOfMemoryError:
                if len(batch) == 1:
                    raise
                self._fitting = len(batch) // 2
                torch.cuda.empty_cache()
                continue
            self._random = run.random
            self._repeated.keep(stage, batch, maps)
            yield from maps
            done += len(batch)
            now = time.perf_counter()
            if now - reported > _PROGRESS:
                reported = now
                left = (now - started) / done * (len(indices) - done)
                MMLogger.get_current_instance().info(
                    f"{run.name}: {done} of {len(indices)} draws ({stage}), {left:.0f} s left"
                )

    def _share_of(self, count: int) -> range:
        """Numbers of this process's draws of a stage."""
        rank, world = get_dist_info() if self.shard_draws else (0, 1)
        return range(rank, count, world)

    def _plan_repetition(self, image: Tensor) -> None:
        """Choose what to repeat, and refuse what is known to couple the draws of a batch."""
        draws = {"select": len(self._share_of(self.n0)), "estimate": len(self._share_of(self.n))}
        most = self._batch_size(image)
        sizes = {stage: min(count, most) for stage, count in draws.items() if count}
        for name, part in self.named_modules():
            if (
                isinstance(part, nn.modules.batchnorm._BatchNorm)
                and part.running_mean is None
                and max(sizes.values(), default=0) > 1
            ):
                raise DependentDrawsError(
                    f"{name} normalizes by the statistics of its batch, so that the draws of a "
                    "batch are not independent: set draws_per_batch=1"
                )
        if sizes:
            self._repeated.plan(sizes, sum(draws.values()))

    #: Draws that fit into the memory of the GPU; halved whenever they do not.
    _fitting = 32

    def _batch_size(self, image: Tensor) -> int:
        if self._random:
            return 1
        if self.draws_per_batch is not None:
            return self.draws_per_batch
        if image.is_cuda:
            return self._fitting
        # A CPU gains nothing from batches beyond the size at which its threads are busy.
        return max(1, 2**18 // image[0].numel())

    @property
    def base_classifier(self) -> BaseClassifier:
        """The map that is smoothed."""
        return BaseClassifier(
            self.module, self.denoiser, self.scale, self.transforms, self.autocast
        )


def _without_data(sample: SegDataSample) -> SegDataSample:
    """A sample of the same image, without its maps."""
    return SegDataSample(metainfo=dict(sample.metainfo))


def _sum_over_processes(counts: Tensor) -> Tensor:
    total = counts.to(torch.int32)
    all_reduce(total, "sum")
    return total
