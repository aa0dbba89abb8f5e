import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from mmseg_lipcert.attacks import FabricationObjective, minimal_norm
from mmseg_lipcert.attacks.invention_site import invention_site
from mmseg_lipcert.certificates import RegionQuery, image_entry

BOX = np.ones((3, 3))


def test_the_site_is_connected_free_and_cheap():
    lacking = np.ones((20, 30))
    lacking[5:9, 20:25] = 0.1
    labels = np.zeros((20, 30), int)
    labels[5, 20] = 1
    site = invention_site(lacking, labels, 1, 12, distance=0)
    assert site.sum() == 12 and ndimage.label(site, structure=BOX)[1] == 1
    assert not site[5, 20] and lacking[site].max() == 0.1
    far = invention_site(lacking, labels, 1, 12, distance=5)
    assert far.sum() == 12 and not far[:11, 15:26].any()


def test_the_site_does_not_touch_a_false_alarm():
    lacking = np.ones((12, 12))
    lacking[3:6, 3:6] = -1
    site = invention_site(lacking, np.zeros((12, 12), int), 1, 9, distance=0)
    assert site.sum() == 9 and not site[2:7, 2:7].any()
    # Too small to be one: it becomes a part of the invention.
    assert invention_site(lacking, np.zeros((12, 12), int), 1, 10, distance=0)[3:6, 3:6].all()


@pytest.mark.parametrize("room", [0, 3])
def test_without_room_the_site_is_too_small(room):
    labels = np.full((4, 4), 255)
    labels[0, :room] = 0
    assert invention_site(np.ones((4, 4)), labels, 1, 5, distance=0).sum() == room


def test_no_attack_on_logits_beats_the_radius():
    # The image is the logits: the Lipschitz bound is 1, and the relaxation is the truth.
    generator = torch.Generator().manual_seed(5)
    logits = torch.rand(3, 12, 16, generator=generator, dtype=torch.float64)
    labels = torch.zeros(12, 16, dtype=torch.long)
    for c, pixels in ((1, 4), (2, 9)):
        query = RegionQuery(object_classes=(c,), fabricate_pixels=pixels)
        (found,) = image_entry(logits, labels, 0.1, 1.0, regions=query)["fabrication"]
        lacking = logits.amax(0) - logits[c]
        site = invention_site(lacking.numpy(), labels.numpy(), c, pixels, 10)
        objective = FabricationObjective(torch.from_numpy(site)[None], c, pixels)
        delta, norm = minimal_norm(lambda x: x, logits[None], objective, steps=60)
        invented = (logits + delta[0]).argmax(0).numpy() == c
        parts, _ = ndimage.label(invented, structure=BOX)
        assert np.bincount(parts.ravel())[1:].max() >= pixels
        assert found["radius"] <= norm.item() < math.inf


def test_the_radius_of_the_only_cheap_place_is_reached():
    logits = torch.zeros(2, 12, 16, dtype=torch.float64)
    logits[0], logits[1, 4:7, 5:8] = 1.0, 0.9
    labels = torch.zeros(12, 16, dtype=torch.long)
    query = RegionQuery(object_classes=(1,), fabricate_pixels=9)
    (found,) = image_entry(logits, labels, 0.1, 1.0, regions=query)["fabrication"]
    site = invention_site((logits[0] - logits[1]).numpy(), labels.numpy(), 1, 9, 10)
    objective = FabricationObjective(torch.from_numpy(site)[None], 1, 9)
    _, norm = minimal_norm(lambda x: x, logits[None], objective, steps=60)
    assert found["radius"] == pytest.approx(0.3 / math.sqrt(2))
    assert found["radius"] <= norm.item() < 1.05 * found["radius"]
