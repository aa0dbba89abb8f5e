"""A network that knows the noise gives back the image, in patches of any size."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mmseg_lipcert.models.denoisers.one_step import patch_size, predict_clean
from mmseg_lipcert.models.denoisers.schedulers import noise_family

KINDS = ("epsilon", "v_prediction", "sample")


@given(
    kind=st.sampled_from(KINDS),
    patch=st.sampled_from([1, 2, 3]),
    levels=st.lists(st.floats(0.02, 10), min_size=1, max_size=3),
    learned_variance=st.booleans(),
)
def test_the_image_is_read_from_the_output_at_each_image_s_own_level(
    kind, patch, levels, learned_variance
):
    family = noise_family(dict(_class_name="DDPMScheduler", prediction_type=kind), clip=False)
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, len(levels), 3, 6, 12, generator=generator)
    level = torch.tensor(levels)[:, None, None, None]
    shrink = 1 / (1 + level**2).sqrt()
    target = {
        "epsilon": noise,
        "v_prediction": shrink * (noise - level * clean),
        "sample": clean,
    }[kind]

    def network(inputs, timesteps, return_dict):
        assert inputs.shape == (len(levels), 3 * patch**2, 6 // patch, 12 // patch)
        # A pixel's square is found in the channels of its place.
        seen = (shrink * (clean + level * noise))[0, 0, :patch, :patch].flatten()
        torch.testing.assert_close(inputs[0, : patch**2, 0, 0], seen)
        assert timesteps.tolist() == pytest.approx([family.timestep(s) for s in levels], rel=1e-5)
        output = F.pixel_unshuffle(target, patch)
        return (torch.cat((output, output), 1) if learned_variance else output,)

    found = predict_clean(network, family, clean + level * noise, levels, patch)
    torch.testing.assert_close(found, clean, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (dict(), 1),
        (dict(in_channels=3, out_channels=6), 1),
        (dict(in_channels=12, out_channels=12), 2),
        (dict(in_channels=27, out_channels=54), 3),
    ],
)
def test_the_patch_size_follows_from_the_channels(config, size):
    assert patch_size(config) == size


@pytest.mark.parametrize("channels", [(1, 1), (4, 4), (6, 6), (12, 3), (3, 12)])
def test_other_channels_are_refused(channels):
    message = f"maps {channels[0]} to {channels[1]} channels"
    with pytest.raises(ValueError, match=message):
        patch_size(dict(in_channels=channels[0], out_channels=channels[1]))
