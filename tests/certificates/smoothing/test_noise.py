import hashlib

import numpy as np
import pytest
import torch

from mmseg_lipcert.certificates.smoothing import draw_generator, draw_noise, spawn_generators
from mmseg_lipcert.certificates.smoothing import noise as noise_module
from mmseg_lipcert.certificates.smoothing.noise import draw_seed, generator_from

SHAPE = (3, 40, 50)


def test_a_draw_is_the_same_bit_for_bit_whatever_else_was_drawn():
    first = draw_noise(0, "a", "select", 3, SHAPE)
    torch.manual_seed(123)
    torch.randn(7)
    draw_noise(0, "a", "select", 2, SHAPE)
    assert torch.equal(draw_noise(0, "a", "select", 3, SHAPE), first)


@pytest.mark.parametrize(
    "other",
    [(1, "a", "select", 3), (0, "b", "select", 3), (0, "a", "estimate", 3), (0, "a", "select", 4)],
)
def test_every_draw_has_its_own_noise(other):
    first = draw_noise(0, "a", "select", 3, SHAPE).flatten()
    second = draw_noise(*other, SHAPE).flatten()
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06


def test_names_and_numbers_cannot_be_confused():
    assert not torch.equal(draw_noise(1, "1", "a", 11, SHAPE), draw_noise(11, "1", "a", 1, SHAPE))


def test_noise_is_standard_normal():
    noise = torch.stack(
        [draw_noise(0, "a", "select", i, (3, 100, 100)) for i in range(30)]
    ).double()
    assert noise.dtype == torch.float64 and draw_noise(0, "", "", 0, (2,)).dtype == torch.float32
    assert noise.std().item() == pytest.approx(1, abs=0.005)
    assert noise.mean().item() == pytest.approx(0, abs=0.005)
    assert (noise.abs() > 1.959964).double().mean().item() == pytest.approx(0.05, abs=0.002)


def test_the_stream_is_the_documented_one():
    # A change of the hash or of the generator would change every certificate.
    digest = hashlib.blake2b(b'[0, "frankfurt_000000", "estimate", 7]', digest_size=16).digest()
    seed = int.from_bytes(digest, "big")
    assert draw_seed(0, "frankfurt_000000", "estimate", 7) == seed > 2**64
    expected = np.random.Generator(np.random.PCG64DXSM(seed)).standard_normal(5, dtype=np.float32)
    noise = draw_noise(0, "frankfurt_000000", "estimate", 7, (5,))
    assert np.array_equal(noise.numpy(), expected)


def test_seeds_that_agree_in_32_or_64_bits_give_other_noise(monkeypatch):
    drawn = []
    for seed in (5, 5 + 2**32, 5 + 2**64, 5 + 2**127):
        monkeypatch.setattr(noise_module, "draw_seed", lambda *_, seed=seed: seed)
        drawn.append(draw_noise(0, "a", "select", 0, SHAPE).flatten().numpy())
    correlation = np.corrcoef(drawn) - np.eye(4)
    assert abs(correlation).max() < 0.06


def state_of(generator):
    return bytes(generator.get_state().numpy())


def test_generators_of_denoisers_are_told_apart():
    assert len({state_of(draw_generator(0, "a", "denoise-select", i)) for i in range(100)}) == 100
    again = draw_generator(0, "a", "denoise-select", 3)
    assert state_of(again) == state_of(draw_generator(0, "a", "denoise-select", 3))


def test_a_generator_has_all_words_of_its_state():
    # NumPy's Mersenne Twister in the same state says the same.
    words = np.random.default_rng(0).integers(2**32, size=624, dtype=np.uint32)
    twister = np.random.RandomState()
    twister.set_state(("MT19937", words, 624))
    drawn = torch.empty(2000).random_(2**24, generator=generator_from(words)).numpy()
    expected = twister.randint(0, 2**32, 2000, dtype=np.uint32) % 2**24
    assert np.array_equal(drawn, expected)


def test_parts_of_a_draw_never_share_random_numbers():
    parent = draw_generator(0, "a", "denoise-select", 0)
    children = spawn_generators(parent, 50) + spawn_generators(parent, 50)
    assert len({state_of(child)[24:] for child in children}) == 100
    noise = torch.stack([torch.randn(2000, generator=child) for child in children])
    assert abs(np.corrcoef(noise) - np.eye(100)).max() < 0.12
