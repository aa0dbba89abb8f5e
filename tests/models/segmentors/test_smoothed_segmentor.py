"""Noise, votes and hits of a smoothed segmentor against what is known of them."""

import os
import socket
import threading

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.model import BaseTTAModel
from mmengine.runner import load_checkpoint
from scipy.stats import binom, chisquare, norm
from torch import nn

from mmseg_lipcert.certificates.smoothing import ClassHierarchy, draw_noise
from mmseg_lipcert.models.segmentors import SmoothedSegmentor, draw_runner, smoothed_segmentor

from .smoothing_toys import Stump, data_of, image_of
from .test_smoothed_zoo import build as zoo

SIGMA = 0.1


def smoothed(stump=None, **options):
    options = dict(sigma=SIGMA, n0=3, n=8, draws_per_batch=4) | options
    return SmoothedSegmentor(stump or Stump(), **options).eval()


def run(model, *images, **options):
    return model.test_step(data_of(*(images or [image_of(127)]), **options))


def draws(stump, count=3 + 8):
    """What a segmentor was shown, without the draws that are repeated afterwards."""
    return stump.shown[: 1 + count]


def maps(sample):
    return [sample.get(name).data for name in ("smoothing_selected", "smoothing_hits")]


def test_hits_follow_the_binomial_law_of_the_known_probability():
    shares = torch.tensor([0.6, 0.75, 0.9])
    values = (127.5 + 255 * SIGMA * torch.from_numpy(norm.ppf(shares))).round()
    image = image_of(values.repeat_interleave(40), (60, 120))
    (sample,) = run(smoothed(n0=50, n=20, draws_per_batch=10), image)
    hits = sample.smoothing_hits.data[0]
    assert (sample.smoothing_selected.data == 1).float().mean() > 0.95  # 0.97 on average
    for number, value in enumerate(values.tolist()):
        block = hits[:, 40 * number : 40 * number + 40]
        chosen = sample.smoothing_selected.data[0][:, 40 * number : 40 * number + 40] == 1
        p = norm.cdf((value - 127.5) / (255 * SIGMA))
        expected = binom.pmf(range(21), 20, p)
        counts = torch.bincount(block[chosen], minlength=21).numpy()
        common = expected * counts.sum() > 5
        found = [*counts[common], counts[~common].sum()]
        wanted = [*expected[common], expected[~common].sum()]
        wanted = [share * sum(found) / sum(wanted) for share in wanted]
        assert chisquare(found, wanted).pvalue > 1e-4


def test_noise_is_that_of_the_draw_on_the_uint8_image():
    stump = Stump()
    image = image_of(250, (30, 40))
    run(smoothed(stump), image, names=["x"])
    assert len(stump.shown) == 1 + 3 + 8 + 2 * 3
    assert torch.equal(stump.shown[0], image.float())
    for shown, (stage, index) in zip(
        draws(stump)[1:],
        [("select", i) for i in range(3)] + [("estimate", i) for i in range(8)],
        strict=True,
    ):
        noise = draw_noise(0, "x", stage, index, image.shape)
        assert torch.equal(shown, 255 * SIGMA * noise + image)
    everything = torch.stack(draws(stump)[1:])
    assert (everything - 250).std().item() == pytest.approx(255 * SIGMA, rel=0.02)
    assert everything.max() > 300  # not clipped


def test_normalization_and_channel_order_come_behind_the_noise():
    mean, std = [10.0, 20.0, 30.0], [2.0, 4.0, 8.0]
    plain, normalizing = Stump(), Stump(mean=mean, std=std, bgr_to_rgb=True)
    for stump in (plain, normalizing):
        run(smoothed(stump), image_of(250))
    for seen, raw in zip(normalizing.shown, plain.shown, strict=True):
        expected = (raw[[2, 1, 0]] - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[
            :, None, None
        ]
        assert torch.allclose(seen, expected)


def test_padding_has_no_noise():
    stump = Stump(test_cfg=dict(size_divisor=32), pad_val=7)
    run(smoothed(stump))
    assert stump.shown[0].shape == (3, 32, 64)
    for shown in stump.shown:
        assert (shown[:, 30:] == 7).all() and (shown[:, :, 40:] == 7).all()


@pytest.mark.parametrize("batch", [1, 3, 100, None])
def test_batches_do_not_matter(batch):
    reference, stump = Stump(), Stump()
    expected = run(smoothed(reference))[0]
    found = run(smoothed(stump, draws_per_batch=batch))[0]
    assert torch.equal(torch.stack(draws(stump)), torch.stack(draws(reference)))
    for one, other in zip(maps(found), maps(expected), strict=True):
        assert torch.equal(one, other)


def test_selection_and_hits_are_those_of_all_label_maps():
    stump = Stump()
    (sample,) = run(smoothed(stump))
    labels = torch.stack([shown[0] > 127.5 for shown in draws(stump)]).long()
    selected = (labels[1:4].sum(0) > 1.5).long()
    assert torch.equal(sample.smoothing_selected.data[0], selected)
    assert torch.equal(sample.pred_sem_seg.data[0], selected)
    assert torch.equal(sample.smoothing_hits.data[0].long(), (labels[4:] == selected).sum(0))
    assert torch.equal(sample.clean_prediction.data[0], labels[0])
    assert sample.smoothing["forward_passes"] == len(labels)


def test_images_of_a_batch_are_as_alone():
    images = [image_of(120), image_of(130, (20, 50))]
    together = run(smoothed(), *images, names="ab")
    alone = [
        run(smoothed(), image, names=[name])[0] for image, name in zip(images, "ab", strict=True)
    ]
    for one, other in zip(together, alone, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(maps(one), maps(other), strict=True))


def test_seed_and_name_make_the_noise():
    first, *others = (
        run(smoothed(seed=seed), names=[name])[0] for seed, name in ((0, "a"), (1, "a"), (0, "b"))
    )
    assert all(not torch.equal(maps(first)[1], maps(other)[1]) for other in others)


def test_the_noise_is_that_of_the_name_of_the_image():
    model = smoothed()
    stump = model.module
    run(model, names=["x"])
    noise = draw_noise(0, "x", "select", 0, (3, 30, 40))
    assert torch.equal(stump.shown[1], 255 * SIGMA * noise + 127)


def test_resizing_runs_behind_the_noise_and_neither_rounds_nor_clips():
    stump = Stump()
    model = smoothed(stump)
    model.transforms = [dict(type="Resize", scale=(80, 60), keep_ratio=True)]
    (sample,) = run(model, image_of(250))
    assert sample.smoothing_hits.data.shape == (1, 30, 40)
    assert stump.shown[0].shape == (3, 60, 80)
    noisy = torch.stack(draws(stump)[1:])
    assert noisy.max() > 256 and not torch.equal(noisy, noisy.round())
    assert 0.3 < (noisy - 250).std() / (255 * SIGMA) < 0.9  # interpolation averages the noise
    assert all(tuple(meta["img_shape"]) == (60, 80) for meta in stump.metas)
    assert all(tuple(meta["ori_shape"]) == (30, 40) for meta in stump.metas)


def test_scale_shrinks_what_the_segmentor_sees():
    stump = Stump()
    (sample,) = run(smoothed(stump, scale=0.5))
    assert stump.shown[0].shape == (3, 15, 20)
    assert sample.smoothing_hits.data.shape == (1, 30, 40)


def test_scale_is_not_undone_by_a_resize_to_a_fixed_size():
    stump = Stump()
    model = smoothed(stump, scale=0.5)
    model.transforms = [dict(type="Resize", scale=(80, 60), keep_ratio=True)]
    (sample,) = run(model)
    assert all(shown.shape == (3, 30, 40) for shown in stump.shown)
    assert all(tuple(meta["img_shape"]) == (30, 40) for meta in stump.metas)
    assert sample.smoothing_hits.data.shape == (1, 30, 40)


class Halver(nn.Module):
    """A denoiser that pulls images half way to black and keeps what it was given."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, noisy, sigma, generators):
        self.calls.append(
            (noisy.clone(), sigma, [bytes(g.get_state().numpy()) for g in generators])
        )
        return noisy / 2


@pytest.mark.parametrize("swap", [False, True])
def test_the_denoiser_sees_rgb_in_unit_range_and_works_on_every_draw(swap):
    stump, denoiser = Stump(bgr_to_rgb=swap), Halver().eval()
    image = image_of(200)
    image[0], image[2] = 10, 250
    run(smoothed(stump, denoiser=denoiser, draws_per_batch=1), image, names=["x"])
    given = torch.cat([noisy for noisy, *_ in denoiser.calls])
    assert len(given) == 3 + 8 + 2 and {sigma for _, sigma, _ in denoiser.calls} == {SIGMA}
    order = [2, 1, 0] if swap else [0, 1, 2]
    expected = (
        image.float()[order] / 255 + SIGMA * draw_noise(0, "x", "select", 0, image.shape)[order]
    )
    assert torch.allclose(given[0], expected, atol=1e-5)
    # Halved, and back in the order of the dataset, from which the preprocessor makes RGB again.
    assert torch.allclose(stump.shown[1], given[0] * 255 / 2, atol=1e-3)
    seeds = [seed for *_, batch in denoiser.calls for seed in batch]
    assert len(set(seeds)) == 3 + 8


def test_a_hierarchy_falls_back_to_a_group_where_classes_are_uncertain():
    hierarchy = dict(num_classes=2, levels=[], share=0.9)
    (sample,) = run(smoothed(hierarchy=hierarchy, n0=20), image_of(127))
    (sure,) = run(smoothed(hierarchy=hierarchy, n0=20), image_of(250))
    assert (sample.smoothing_selected.data == 2).float().mean() > 0.5
    assert (sure.smoothing_selected.data == 1).all()
    assert ((sample.smoothing_selected.data != 2) | (sample.smoothing_hits.data == 8)).all()


def test_weights_of_the_segmentor_load_into_it(tmp_path):
    source = Stump()
    source.parameter.data.fill_(3.0)
    torch.save(dict(state_dict=source.state_dict(), meta={}), tmp_path / "a.pth")
    model = smoothed()
    load_checkpoint(model, str(tmp_path / "a.pth"))
    assert model.module.parameter.item() == 3.0


def test_training_mode_is_refused():
    model = smoothed()
    model.module.train()
    with pytest.raises(RuntimeError, match=r"model.eval\(\)"):
        run(model)


def test_float_images_are_refused():
    with pytest.raises(ValueError, match="0.png: noise is added to the uint8 image"):
        run(smoothed(), image_of(3).float())


class Averager(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return data_samples_list


def test_test_time_augmentation_is_refused():
    with pytest.raises(ValueError, match="module is a Averager"):
        SmoothedSegmentor(Averager(Stump()))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (dict(sigma=0), "sigma must be a positive number, got 0"),
        (dict(sigma=float("nan")), "sigma"),
        (dict(n0=0), "n0 must be an integer from 1"),
        (dict(n=2**64), "n must be an integer from 1"),
        (dict(draws_per_batch=0), "draws_per_batch must be an integer from 1"),
        (dict(noise_at="nowhere"), "noise_at must be"),
        (dict(autocast="int8"), "autocast must be"),
        (dict(scale=-1.0), "scale must be"),
        (dict(scale=0.001), "scale must be from 0.01 to 100, got 0.001"),
        (dict(scale=1e9), "scale must be from 0.01 to 100"),
        (dict(budget=0.0), "budget must be a positive number, got 0.0"),
    ],
)
def test_wrong_options_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        smoothed(**option)


def worker(rank, port, path):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    (sample,) = run(smoothed(shard_draws=True, n0=4, n=7), image_of(120))
    torch.save(maps(sample), f"{path}.{rank}")
    dist.destroy_process_group()


def test_two_processes_that_share_the_draws_find_what_one_finds(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(worker, args=(port, str(tmp_path / "maps")), nprocs=2)
    expected = maps(run(smoothed(n0=4, n=7), image_of(120))[0])
    for rank in range(2):
        found = torch.load(tmp_path / f"maps.{rank}")
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_reduced_precision_reaches_the_segmentor_but_not_the_noise():
    class Convolution(Stump):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.kinds = []

        def forward(self, inputs, data_samples, mode):
            self.kinds.append((inputs.dtype, self.conv(inputs).dtype))
            return super().forward(inputs, data_samples, mode)

    stump = Convolution()
    run(smoothed(stump, autocast="bfloat16", channels_last=True))
    assert set(stump.kinds) == {(torch.float32, torch.bfloat16)}


def test_hierarchy_objects_are_taken_as_they_are():
    hierarchy = ClassHierarchy(2, [])
    assert smoothed(hierarchy=hierarchy).hierarchy is hierarchy


class Coupled(Stump):
    """Compares each image with the mean of its batch."""

    def __init__(self, norm=None):
        super().__init__()
        self.norm = norm or (lambda x: x - x.mean(0, keepdim=True))

    def forward(self, inputs, data_samples, mode):
        return super().forward(self.norm(inputs) + 127.5, data_samples, mode)


def copies_the_first_row_of_the_last(images):
    return torch.cat([images[-1:, :, :1].expand_as(images[:, :, :1]), images[:, :, 1:]], 2) - 127.5


def batch_normalized(images):
    return nn.functional.batch_norm(images, None, None, training=True)


@pytest.mark.parametrize(
    "norm",
    [
        None,
        nn.BatchNorm2d(3, track_running_stats=False),
        batch_normalized,
        copies_the_first_row_of_the_last,
    ],
)
def test_draws_that_influence_each_other_are_refused(norm):
    with pytest.raises(ValueError, match="draws_per_batch=1"):
        run(smoothed(Coupled(norm)))
    run(smoothed(Coupled(norm), draws_per_batch=1))


@pytest.mark.parametrize("size", [2, 8])
def test_few_pixels_do_not_hide_a_normalization_by_the_batch(size):
    norm = nn.BatchNorm2d(3, track_running_stats=False)
    with pytest.raises(ValueError, match="module.norm normalizes by the statistics of its batch"):
        run(smoothed(Coupled(norm)), image_of(255, (1, size)))


def test_repetitions_are_a_small_share_of_a_run():
    stump = Stump()
    model = smoothed(stump, n0=10, n=90, draws_per_batch=10)
    for number in range(20):
        run(model, image_of(127, (4, 4)), names=[f"{number}"])
    model.finish()
    repeated = len(stump.shown) - 20 * 101
    assert 3 * 10 <= repeated <= 0.02 * 20 * 101


@pytest.mark.parametrize("hierarchy, message", [(3, "must be one of"), ("cityscapes", "has 2")])
def test_a_hierarchy_must_fit_the_model(hierarchy, message):
    with pytest.raises(ValueError, match=message):
        smoothed(hierarchy=hierarchy)


class Clock:
    """Time passes in forward passes only, at a pace that depends on the layout of the weights."""

    def __init__(self, channels_last):
        self.now, self.pace = 0.0, {True: channels_last, False: 1.0}

    def perf_counter(self):
        return self.now


class Timed(Stump):
    def __init__(self, clock):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.clock = clock
        self.layouts = []

    def forward(self, inputs, data_samples, mode):
        layout = self.conv.weight.is_contiguous(memory_format=torch.channels_last)
        self.layouts.append(layout)
        self.clock.now += self.clock.pace[layout]
        return super().forward(inputs, data_samples, mode)


@pytest.mark.parametrize(
    ("pace", "options", "size", "expected"),
    [
        (0.7, {}, (256, 256), True),
        (0.97, {}, (256, 256), False),
        (0.7, {}, (255, 256), False),
        (0.7, dict(channels_last=False), (256, 256), False),
        (1.5, dict(channels_last=True), (256, 256), True),
    ],
)
def test_the_faster_memory_layout_is_kept(pace, options, size, expected, monkeypatch):
    clock = Clock(pace)
    monkeypatch.setattr(smoothed_segmentor, "time", clock)
    segmentor = Timed(clock)
    model = smoothed(segmentor, n0=1, n=2, **options)
    run(model, image_of(127, size))
    assert segmentor.layouts[-3:] == [expected] * 3
    before = len(segmentor.layouts)
    run(model, image_of(127, size))
    assert set(segmentor.layouts[before:]) == {expected} and len(segmentor.layouts) < before + 6


@pytest.mark.parametrize("shard_draws", [False, True])
def test_processes_that_share_the_draws_of_an_image_have_one_layout(shard_draws, monkeypatch):
    def of_the_first_process(chosen):
        chosen[0] = "contiguous"

    clock = Clock(0.7)
    monkeypatch.setattr(smoothed_segmentor, "time", clock)
    monkeypatch.setattr(smoothed_segmentor, "broadcast_object_list", of_the_first_process)
    segmentor = Timed(clock)
    run(smoothed(segmentor, n0=1, n=2, shard_draws=shard_draws), image_of(127, (256, 256)))
    assert segmentor.layouts[-3:] == [not shard_draws] * 3


def test_a_draw_is_timed_as_it_runs(monkeypatch):
    clock = Clock(1.0)
    monkeypatch.setattr(smoothed_segmentor, "time", clock)
    segmentor = Timed(clock)
    data = data_of(image_of(127))
    seconds = smoothed(segmentor, draws_per_batch=5).seconds_per_draw(
        data["inputs"][0], data["data_samples"][0]
    )
    assert seconds == 1 / 5 and len(segmentor.shown) == 2 * 5
    drawn = smoothed(Stump(), n0=5, draws_per_batch=5)
    run(drawn, names=["0"])
    assert all(not torch.equal(segmentor.shown[0], shown) for shown in drawn.module.shown)


@pytest.mark.parametrize(
    ("compile", "mode"), [(True, "default"), ("reduce-overhead", "reduce-overhead")]
)
def test_what_computes_is_compiled_on_request(compile, mode, monkeypatch):
    class WithSteps(Stump):
        def encode_decode(self, inputs, batch_img_metas):
            return inputs

    modes = []
    monkeypatch.setattr(torch, "compile", lambda f, mode: modes.append((f.__name__, mode)) or f)
    monkeypatch.setattr(
        nn.Module, "compile", lambda module, mode: modes.append((type(module), mode))
    )
    smoothed(WithSteps(), compile=compile)
    smoothed(Stump(), compile=compile)
    assert modes == [("encode_decode", mode), (Stump, mode)]
    smoothed(WithSteps())
    assert len(modes) == 2


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [True, "reduce-overhead"])
@pytest.mark.parametrize("autocast", [None, "bfloat16"])
def test_compiled_segmentors_and_noise_of_a_gpu(compile, autocast, mmseg_scope):
    """The same labels up to ties, whatever the batch; noise of the GPU is normal."""
    found = []
    for options in (dict(), dict(draws_per_batch=2), dict(compile=compile)):
        model = smoothed(zoo("fast_scnn", "whole"), n0=4, n=8, autocast=autocast, **options)
        image = torch.randint(0, 256, (3, 128, 192), generator=torch.Generator().manual_seed(0))
        (sample,) = run(model.cuda(), image.to(torch.uint8))
        model.finish()
        found.append(sample.smoothing_hits.data)
    for other in found[1:]:
        assert (found[0] != other).float().mean() < (0.01 if autocast is None else 0.1)
    noise = draw_noise(0, "a", "select", 0, (3, 1000, 1000), "cuda")
    assert torch.equal(noise, draw_noise(0, "a", "select", 0, (3, 1000, 1000), "cuda"))
    assert noise.dtype == torch.float32 and noise.std().item() == pytest.approx(1, abs=2e-3)
    other = draw_noise(0, "a", "select", 1, (3, 1000, 1000), "cuda")
    assert abs(torch.corrcoef(torch.stack([noise.flatten(), other.flatten()]))[0, 1]) < 4e-3


def test_noise_is_drawn_ahead_while_the_network_runs(monkeypatch):
    """In another thread, and every draw once."""
    drawn = []

    def note(*draw):
        drawn.append((draw[2], draw[3], threading.current_thread() is threading.main_thread()))
        return draw_noise(*draw)

    monkeypatch.setattr(draw_runner, "draw_noise", note)
    run(smoothed(n0=3, n=8, draws_per_batch=4))
    first = drawn[: 3 + 8]
    assert sorted(first) == [
        *(("estimate", index, False) for index in range(8)),
        *(("select", index, False) for index in range(3)),
    ]
