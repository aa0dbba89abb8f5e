"""Draws that depend on each other, and segmentors that draw: refused, or within alpha.

All pixels have p = tau, so that every certified one is wrong.
"""

import os
import random
import socket
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.structures import PixelData
from scipy.stats import binomtest

from mmseg_lipcert.models.segmentors import (
    DependentDrawsError,
    SmoothedSegmentor,
    smoothed_segmentor,
)

from .smoothing_toys import Stump, data_of, image_of

TAU, N, PIXELS = 0.75, 12, (40, 50)
#: With N of N hits; the level of one pixel.
ALPHA = TAU**N
#: A Stump predicts 1 with probability 0.75 where the image has this value.
GRAY = 145
SIGMA = (GRAY - 127.5) / 255 / 0.6744898


def smoothed(segmentor, **options):
    options = dict(sigma=SIGMA, n0=3, n=N, draws_per_batch=4) | options
    return SmoothedSegmentor(segmentor, **options).eval()


def run(model, *names, value=GRAY):
    names = names or ["a"]
    image = image_of(value, PIXELS)
    return model.test_step(data_of(*[image for _ in names], names=names))


def wrong(*hits):
    """Whether more pixels have all hits than alpha explains."""
    certified = sum((torch.as_tensor(one) == N).sum().item() for one in hits)
    tested = sum(torch.as_tensor(one).numel() for one in hits)
    return binomtest(certified, tested, ALPHA, alternative="greater").pvalue < 1e-6


class Random(Stump):
    """Predicts 1 with probability 0.75, by random numbers of its own."""

    def __init__(self, source="torch"):
        super().__init__()
        self.source = source

    def numbers(self, size):
        if self.source == "torch":
            return torch.rand(size)
        if self.source == "numpy":
            return torch.from_numpy(np.random.rand(*size))
        return torch.tensor([random.random() for _ in range(size.numel())]).reshape(size)

    def forward(self, inputs, data_samples, mode):
        # One map for the whole batch, as a head draws that is initialized at random.
        labels = (self.numbers(inputs.shape[2:]) < 0.75).long()[None]
        self.shown += list(inputs.clone())
        for sample in data_samples:
            sample.set_data(dict(pred_sem_seg=PixelData(data=labels)))
        return data_samples


def label_maps(model, name="a", stage="estimate", count=N):
    """Labels of this process's draws."""
    image = image_of(200, PIXELS)
    (sample,) = data_of(image, names=[name])["data_samples"]
    image = image.float()
    return list(model._draws(model._runner(image, sample, name), stage, count))


@pytest.mark.parametrize("source", ["torch", "numpy", "random"])
def test_a_random_segmentor_is_run_one_draw_at_a_time_and_within_alpha(source, caplog):
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    before = torch.rand(3), np.random.rand(3), random.random()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    (sample,) = run(smoothed(Random(source)))
    after = torch.rand(3), np.random.rand(3), random.random()
    assert torch.equal(before[0], after[0]) and (before[1] == after[1]).all()
    assert before[2] == after[2]
    hits = sample.smoothing_hits.data[0]
    assert not wrong(hits) and hits.unique().numel() > 5
    (again,) = run(smoothed(Random(source), draws_per_batch=1))
    assert torch.equal(again.smoothing_hits.data[0], hits)


class Lazy(Stump):
    """Draws random numbers once, to prepare itself."""

    prepared = False

    def forward(self, inputs, data_samples, mode):
        if not self.prepared:
            self.prepared = bool(torch.rand(3).numel())
        return super().forward(inputs, data_samples, mode)


def test_preparations_do_not_make_a_segmentor_random():
    model = smoothed(Lazy())
    run(model)
    assert not model._random
    model = smoothed(Random())
    run(model)
    assert model._random


class RandomUnderNoise(Random):
    """Deterministic on the clean image."""

    def forward(self, inputs, data_samples, mode):
        plain = (inputs == inputs.round()).all()
        return (Stump if plain else Random).forward(self, inputs, data_samples, mode)


def test_random_numbers_that_only_noisy_images_ask_for_are_noticed():
    expected, found = (
        run(smoothed(kind()))[0].smoothing_hits.data for kind in (Random, RandomUnderNoise)
    )
    assert torch.equal(expected, found)


def test_ranks_that_are_seeded_alike_do_not_share_random_numbers(monkeypatch):
    total = torch.zeros(PIXELS)
    for rank in range(4):
        torch.manual_seed(0), np.random.seed(0), random.seed(0)
        monkeypatch.setattr(smoothed_segmentor, "get_dist_info", lambda rank=rank: (rank, 4))
        maps = label_maps(smoothed(Random(), shard_draws=True))
        assert len(maps) == N // 4
        total += torch.stack(maps).sum(0)
    assert not wrong(total)
    alone = torch.stack(label_maps(smoothed(Random()))).sum(0)
    assert torch.equal(alone, total)


class Stateful(Stump):
    """Answers every other call with what it said before."""

    def __init__(self, period=2):
        super().__init__()
        self.period = period
        self.calls = 0

    def forward(self, inputs, data_samples, mode):
        super().forward(inputs, data_samples, mode)
        for sample in data_samples:
            self.calls += 1
            if self.calls % self.period and getattr(self, "last", None) is not None:
                sample.set_data(dict(pred_sem_seg=PixelData(data=self.last)))
            self.last = sample.pred_sem_seg.data
        return data_samples


class OwnGenerator(Random):
    """Draws from a generator that nobody else can set."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def numbers(self, size):
        return torch.rand(size, generator=self.generator)


class Adapting(Stump):
    """Compares with the running mean of what it was shown, as if it were still training."""

    mean = 127.5

    def forward(self, inputs, data_samples, mode):
        self.mean += 0.1 * (inputs.mean().item() - self.mean)
        return super().forward(inputs - self.mean + 127.5, data_samples, mode)


@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize("kind", [Stateful, lambda: Stateful(3), OwnGenerator, Adapting])
def test_a_state_that_survives_a_call_is_refused(kind, batch):
    reasons = []
    model = smoothed(kind(), draws_per_batch=batch)
    model.void = reasons.append
    with pytest.raises(DependentDrawsError, match="keeps a state between calls"):
        run(model)
    assert len(reasons) == 1


class Late(Stump):
    """Behaves until the first image is done."""

    broken = False

    def forward(self, inputs, data_samples, mode):
        return super().forward(inputs + 40 * self.broken, data_samples, mode)


def test_a_state_that_comes_later_is_found_at_the_end():
    segmentor = Late()
    model = smoothed(segmentor)
    run(model)
    model.finish()
    run(model, "b")
    model.finish()
    segmentor.broken = True
    with pytest.raises(DependentDrawsError, match="keeps a state between calls"):
        model.finish()


def test_behind_training_the_first_image_is_looked_at_again():
    """Other weights, other draws: what was seen of the old ones proves nothing."""
    segmentor = Late()
    model = smoothed(segmentor)
    run(model)
    model.train()
    model.eval()
    segmentor.broken = True  # all the time, as other weights are
    model.finish()
    run(model, "b")
    run(model, "c")
    model.finish()
    segmentor.broken = False
    with pytest.raises(DependentDrawsError, match="keeps a state between calls"):
        model.finish()


class Coupled(Stump):
    """Shows its segmentor other images of the batch."""

    def __init__(self, order):
        super().__init__()
        self.order = order

    def forward(self, inputs, data_samples, mode):
        return super().forward(inputs[self.order(len(inputs))], data_samples, mode)


ORDERS = dict(
    first_for_all=lambda count: [0] * count,
    pairs=lambda count: [i - i % 2 for i in range(count)],
    last_of_three=lambda count: [2 if i == 0 and count > 2 else i for i in range(count)],
    odd_ones_only=lambda count: [i - 2 if i % 2 and i > 1 else i for i in range(count)],
)


@pytest.mark.parametrize("batch", [2, 3, 4, 12])
@pytest.mark.parametrize("order", ORDERS)
def test_coupled_draws_of_a_batch_are_refused(order, batch):
    if ORDERS[order](batch) == list(range(batch)):
        return
    model = smoothed(Coupled(ORDERS[order]), draws_per_batch=batch, n0=batch)
    with pytest.raises(DependentDrawsError, match="set draws_per_batch=1"):
        run(model)
    (sample,) = run(smoothed(Coupled(ORDERS[order]), draws_per_batch=1))
    assert not wrong(sample.smoothing_hits.data)


def test_honest_segmentors_are_within_alpha_whatever_the_batch():
    for batch in (1, 3, 12):
        (sample,) = run(smoothed(Stump(), draws_per_batch=batch))
        hits = sample.smoothing_hits.data
        assert not wrong(hits) and (hits == N).sum() > 0


def worker(rank, port, path):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=4)
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    model = smoothed(Random(), shard_draws=True, n0=4)
    (sample,) = run(model)
    model.finish()
    torch.save(sample.smoothing_hits.data, f"{path}.{rank}")
    # Images of its own: none waits for the others.
    segmentor = Late()
    model = smoothed(segmentor)
    run(model, f"{rank}")
    run(model, f"{rank} again")
    segmentor.broken = rank == 2
    with pytest.raises(DependentDrawsError, match="a state") if rank == 2 else nullcontext():
        model.finish()
    dist.destroy_process_group()


@pytest.mark.slow
def test_four_processes_share_the_draws_of_a_random_segmentor(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(worker, args=(port, str(tmp_path / "hits")), nprocs=4)
    expected = run(smoothed(Random(), n0=4))[0].smoothing_hits.data
    for rank in range(4):
        assert torch.equal(torch.load(tmp_path / f"hits.{rank}"), expected)
    assert not wrong(expected)
